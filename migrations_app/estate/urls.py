from django.urls import path

from . import views

app_name = "estate"
urlpatterns = [
    path("selection/<slug:slug>/", views.selection, name="selection"),
    path("selection/<slug:slug>/change/", views.select, name="select"),
    path("views/", views.save_view, name="save_view"),
    path("views/<int:pk>/remove/", views.remove_view, name="remove_view"),
    path("overview/read/", views.read_all, name="read_all"),
]
