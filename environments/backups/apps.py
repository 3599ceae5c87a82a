from django.apps import AppConfig


class BackupsConfig(AppConfig):
    name = "environments.backups"
    label = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import hooks as job_hooks
        from sstools.jobs import periodic, tidying
        from sstools.web import home, search

        from . import finding, notices, overview, retention

        tidying.register("backups", retention.forget_backups)
        job_hooks.ended.append(notices.job_ended)
        periodic.every(notices.LOOK_SECONDS, "Looking for late backups", notices.tell_late)
        home.register(overview)
        search.register(finding)
