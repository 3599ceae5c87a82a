from django.apps import AppConfig


class DriftConfig(AppConfig):
    name = "migrations_app.drift"
    label = "drift"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments.events import after_reading
        from migrations_app import removing
        from sstools.jobs import hooks
        from sstools.web import home

        from . import answers, detecting, notices, overview

        notices.register()
        home.register(overview)
        after_reading(detecting.environment_was_read)
        removing.provide(answers.removals_of)
        hooks.ended.append(answers.job_ended)
