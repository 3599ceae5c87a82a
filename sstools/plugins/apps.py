from django.apps import AppConfig


class PluginsConfig(AppConfig):
    name = "sstools.plugins"
    label = "plugins"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import periodic

        from . import services

        periodic.every(30.0, "Looking whether plugins came or went", services.ask_for_look)
