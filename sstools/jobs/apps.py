from django.apps import AppConfig

RESEND_SECONDS = 2.0  # a message that was lost costs a person this and its grace; one cheap query


class JobsConfig(AppConfig):
    name = "sstools.jobs"
    label = "jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from sstools.web import home

        from . import (
            checks,  # noqa: F401  registers itself
            overview,
            periodic,
            registry,
            services,
        )

        # A worker has the code of all jobs before the first of them: nobody waits for imports.
        post_spawn.connect(lambda **about: registry.load(), weak=False, dispatch_uid="job kinds")
        home.register(overview)
        periodic.every(RESEND_SECONDS, "Sending lost messages again", services.resend)
