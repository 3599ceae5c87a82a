from django.apps import AppConfig


class DriftConfig(AppConfig):
    name = "migrations_app.drift"
    label = "drift"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments.events import after_reading
        from sstools.jobs import hooks
        from sstools.web import home

        from . import answers, detecting, notices, overview

        notices.register()
        home.register(overview)
        after_reading(detecting.environment_was_read)
        hooks.ended.append(answers.job_ended)
