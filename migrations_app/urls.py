from django.urls import URLPattern, URLResolver

app_name = "migrations_app"
urlpatterns: list[URLPattern | URLResolver] = []
