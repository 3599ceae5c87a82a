from django.urls import path

from . import views

app_name = "rehearsals"
urlpatterns = [
    path("rehearsals/", views.rehearsal_list, name="list"),
    path("rehearsals/<int:number>/", views.rehearsal_detail, name="detail"),
]
