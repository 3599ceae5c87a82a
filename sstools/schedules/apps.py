from django.apps import AppConfig

FIRE_SECONDS = 2.0  # how late a run may start at most while a supervisor is alive
SETTLE_SECONDS = 60.0


class SchedulesConfig(AppConfig):
    name = "sstools.schedules"
    label = "schedules"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import hooks, pages, periodic, tidying
        from sstools.web import home

        from . import firing, overview

        periodic.every(FIRE_SECONDS, "Firing schedules", firing.fire_due)
        periodic.every(SETTLE_SECONDS, "Results of schedules", firing.settle)
        hooks.ended.append(firing.job_ended)
        tidying.register("runs of schedules", firing.prune)
        home.register(overview)
        pages.register_origin(overview.origin_of)
