from django.apps import AppConfig


class EstateConfig(AppConfig):
    name = "migrations_app.estate"
    label = "estate"
    default_auto_field = "django.db.models.BigAutoField"
