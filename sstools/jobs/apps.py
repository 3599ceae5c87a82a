from typing import Any

from django.apps import AppConfig

RESEND_SECONDS = 2.0  # a message that was lost costs a person this and its grace; one cheap query


class JobsConfig(AppConfig):
    name = "sstools.jobs"
    label = "jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from sstools.web import home, search

        from . import (
            checks,  # noqa: F401  registers itself
            ending,
            finding,
            overview,
            periodic,
            retention,
            services,
            tidying,
        )

        ending.end_in_any_case()
        post_spawn.connect(_load_everything, dispatch_uid="load everything")
        home.register(overview)
        search.register(finding)
        periodic.every(RESEND_SECONDS, "Sending lost messages again", services.resend)
        for name, forget in retention.FORGOTTEN.items():
            tidying.register(name, forget)


def _load_everything(**about: Any) -> None:
    """A worker has the code of all jobs, and the addresses that they link to, before the first of them: nobody waits
    for imports.
    """
    from django.urls import get_resolver

    from . import registry

    registry.load()
    get_resolver().reverse_dict  # noqa: B018  filled when it is looked at
