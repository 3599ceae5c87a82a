from django.apps import AppConfig


class FanOutConfig(AppConfig):
    name = "migrations_app.fanout"
    label = "fanout"
    verbose_name = "Fan-out"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import hooks, periodic

        from . import advancing

        hooks.ended.append(advancing.job_ended)
        periodic.every(5.0, "Fan-outs at work", advancing.advance_all)
