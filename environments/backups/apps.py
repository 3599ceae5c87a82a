from django.apps import AppConfig


class BackupsConfig(AppConfig):
    name = "environments.backups"
    label = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import tidying

        from . import retention

        tidying.register("backups", retention.forget_backups)
