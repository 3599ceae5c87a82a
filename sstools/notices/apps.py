from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "sstools.notices"
    label = "notices"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import hooks, periodic

        from . import sending, telling

        hooks.ended.append(telling.job_ended)
        hooks.asked.append(telling.job_asked)

        periodic.every(sending.LOOK_SECONDS, "Looking for notices to send", sending.ask_for_sending)
        periodic.every(3600, "Forgetting old notices", sending.forget_old)
