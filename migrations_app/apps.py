from django.apps import AppConfig


class MigrationsAppConfig(AppConfig):
    name = "migrations_app"
    label = "migrations_app"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.web import home

        from . import overview

        home.register(overview)
