from django.apps import AppConfig


class RolesConfig(AppConfig):
    name = "sstools.roles"
    label = "roles"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.web import search

        from . import finding

        search.register(finding)
