from django.apps import AppConfig


class ReleaseConfig(AppConfig):
    name = "migrations_app.release"
    label = "release"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from migrations_app import carrying, gates
        from sstools.web import home

        from . import gate, notices, overview

        gates.register(gate.obstacles, gate.note_bypass, gate.standing)
        carrying.register_defaults(gate.carrying_between)
        home.register(overview)
        notices.register()
