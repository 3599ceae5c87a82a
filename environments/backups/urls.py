from django.urls import path

from . import views

app_name = "backups"
urlpatterns = [
    path("", views.backup_list, name="list"),
    path("new/", views.backup_new, name="new"),
    path("schedules/", views.schedules, name="schedules"),
    path("retention/", views.retention_list, name="retention_list"),
    path("retention/<slug:slug>/", views.retention_edit, name="retention"),
    path("<int:number>/", views.backup_detail, name="detail"),
    path("<int:number>/download/", views.backup_download, name="download"),
    path("<int:number>/edit/", views.backup_edit, name="edit"),
    path("<int:number>/pin/", views.backup_pin, name="pin"),
    path("<int:number>/unpin/", views.backup_unpin, name="unpin"),
    path("<int:number>/verify/", views.backup_verify, name="verify"),
    path("<int:number>/delete/", views.backup_delete, name="delete"),
    path("<int:number>/<slug:kind>/<slug:uuid>/", views.backup_entry, name="entry"),
]
