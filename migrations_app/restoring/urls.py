from django.urls import path

from . import views

app_name = "restoring"
urlpatterns = [path("backups/<int:number>/restore/", views.restore, name="restore")]
