from django.urls import path

from . import views

app_name = "schedules"
urlpatterns = [
    path("", views.schedule_list, name="list"),
    path("new/", views.schedule_create, name="create"),
    path("preview/", views.schedule_preview, name="preview"),
    path("<uuid:uuid>/", views.schedule_detail, name="detail"),
    path("<uuid:uuid>/edit/", views.schedule_edit, name="edit"),
    path("<uuid:uuid>/pause/", views.schedule_pause, name="pause"),
    path("<uuid:uuid>/resume/", views.schedule_resume, name="resume"),
    path("<uuid:uuid>/take-over/", views.schedule_take_over, name="take_over"),
    path("<uuid:uuid>/run/", views.schedule_run, name="run"),
    path("<uuid:uuid>/delete/", views.schedule_delete, name="delete"),
]
