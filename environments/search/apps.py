from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "environments.search"
    label = "search"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments import events
        from sstools.web import search

        from . import indexing, sources

        events.after_reading(indexing.refresh)
        search.register(sources)
