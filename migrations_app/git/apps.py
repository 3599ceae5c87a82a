from django.apps import AppConfig


class GitConfig(AppConfig):
    name = "migrations_app.git"
    label = "git"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.models.signals import post_save

        from migrations_app import gates
        from migrations_app.models import Migration, Run
        from sstools.jobs import hooks, tidying

        from . import following, holds, services, statuses

        gates.register(holds.obstacles, holds.noted)
        post_save.connect(holds.run_created, sender=Run, dispatch_uid="git.holds")
        post_save.connect(statuses.migration_created, sender=Migration, dispatch_uid="git.statuses")
        hooks.ended += [following.apply_ended, statuses.job_moved]
        hooks.asked.append(statuses.job_moved)
        tidying.register("readings of commits", services.forget_readings)
