from django.apps import AppConfig


class ReplacingConfig(AppConfig):
    name = "migrations_app.replacing"
    label = "replacing"
    default_auto_field = "django.db.models.BigAutoField"
