from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "sstools.signin"
    label = "signin"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import tidying

        from . import history, sessions

        history.connect()
        tidying.register("sessions that are over", sessions.forget_expired)
