from django.apps import AppConfig


class EstateConfig(AppConfig):
    name = "migrations_app.estate"
    label = "estate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments import events
        from migrations_app import pairings
        from sstools.web import home

        from . import overview, services, states

        events.after_reading(states.refresh)
        pairings.after_change(services.pairing_changed)
        home.register(overview)
