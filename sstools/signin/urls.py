"""The namespace is the one by which django-auth-adfs finds its callback."""

from django.urls import path

from . import views

app_name = "django_auth_adfs"
urlpatterns = [
    path("login", views.begin, name="login"),
    path("callback", views.callback, name="callback"),
]
