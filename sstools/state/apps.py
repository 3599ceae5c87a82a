from django.apps import AppConfig


class StateConfig(AppConfig):
    name = "sstools.state"
    label = "state"
