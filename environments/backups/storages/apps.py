from django.apps import AppConfig


class StoragesConfig(AppConfig):
    name = "environments.backups.storages"
    label = "backup_storages"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments import store
        from sstools.jobs import tidying

        from . import copies, sweeping

        store.register_elsewhere(copies.read_packed)
        tidying.register("stored objects", sweeping.forget_objects)
        tidying.register("documents moved out of the database", copies.drop_bodies)
