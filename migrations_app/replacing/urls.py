from django.urls import path

from . import views

app_name = "replacing"
urlpatterns = [path("replace/", views.replace, name="replace")]
