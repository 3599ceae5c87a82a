from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "sstools.web"
    label = "web"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools import checks  # noqa: F401  registers itself
