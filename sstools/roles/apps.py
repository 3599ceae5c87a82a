from django.apps import AppConfig


class RolesConfig(AppConfig):
    name = "sstools.roles"
    label = "roles"
    default_auto_field = "django.db.models.BigAutoField"
