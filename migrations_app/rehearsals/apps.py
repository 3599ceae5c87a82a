from django.apps import AppConfig


class RehearsalsConfig(AppConfig):
    name = "migrations_app.rehearsals"
    label = "rehearsals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.web import home

        from . import notices, overview

        notices.register()
        home.register(overview)
