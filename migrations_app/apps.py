from django.apps import AppConfig


class MigrationsAppConfig(AppConfig):
    name = "migrations_app"
    label = "migrations_app"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments import extras
        from environments.backups import hooks as backup_hooks
        from environments.backups import origins
        from sstools.jobs import hooks, pages, periodic, tidying
        from sstools.web import home, search

        from . import (
            applying,
            finding,
            leftovers,
            overview,
            plugged,
            promoting,
            promotions,
            restore_points,
            run_page,
            telling,
        )
        from .assets import inventory
        from .comparing import uploads
        from .services import APPLY

        home.register(overview)
        extras.provide_states(inventory)
        search.register(finding)
        origins.register(restore_points.origins)
        backup_hooks.register(needs=restore_points.needs, lets_go=restore_points.lets_go)
        hooks.ended.append(telling.job_ended)
        hooks.ended.append(plugged.job_ended)
        tidying.register("uploaded exports", uploads.forget_uploads)
        tidying.register("marks of what was viewed", uploads.forget_viewed)
        pages.register(APPLY, run_page.describe)
        pages.register(promotions.PROMOTE, run_page.describe_promotion)
        pages.register(leftovers.LOOK, run_page.describe_look)
        # What was answered by page or API wakes the job at once; this finds the rest.
        periodic.every(5.0, "Jobs that wait for a mapping", promoting.wake_the_answered)
        periodic.every(5.0, "Runs whose target was away", applying.wake_lookers)
