from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "sstools.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import schema  # noqa: F401  its extensions are known once it is imported
