from django.apps import AppConfig


class EnvironmentsConfig(AppConfig):
    name = "environments"
    label = "environments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import notices, tidying
        from sstools.plugins import sources
        from sstools.roles import places
        from sstools.web import home

        from . import (
            for_plugins,
            overview,
            pacing,
            problems,  # noqa: F401  registers how errors of a Superset are shown
            readings,
        )

        home.register(overview)
        notices.register(pacing.pause_notices)
        places.register(overview.places)
        sources.register(for_plugins.place_of, for_plugins.assets_of)
        tidying.register("old readings", readings.forget_readings)
        tidying.register("unused documents", readings.forget_documents)
