from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "sstools.jobs"
    label = "jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.web import home

        from . import (
            checks,  # noqa: F401  registers itself
            overview,
        )

        home.register(overview)
