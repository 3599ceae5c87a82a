from django.apps import AppConfig


class GitConfig(AppConfig):
    name = "migrations_app.git"
    label = "git"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import tidying

        from . import services

        tidying.register("readings of commits", services.forget_readings)
