from django.urls import path

from . import views

app_name = "fanout"
urlpatterns = [
    path("fan-out/", views.fan_out_list, name="list"),
    path("fan-out/new/", views.fan_out_edit, name="new"),
    path("fan-out/<uuid:uuid>/", views.fan_out_detail, name="detail"),
    path("fan-out/<uuid:uuid>/edit/", views.fan_out_edit, name="edit"),
    path("fan-out/<uuid:uuid>/copies/", views.copies, name="copies"),
    path("fan-out/<uuid:uuid>/delete/", views.fan_out_delete, name="delete"),
    path("fan-out/<uuid:uuid>/plan/", views.plan, name="plan"),
    path("fan-out/runs/<int:number>/", views.run_detail, name="run"),
    path("fan-out/runs/<int:number>/<str:what>/", views.run_do, name="run_do"),
]
