from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "sstools.signin"
    label = "signin"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import history

        history.connect()
