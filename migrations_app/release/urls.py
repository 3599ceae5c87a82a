from django.urls import path

from . import views

app_name = "release"
urlpatterns = [
    path("migrations/<int:number>/approve/", views.approve, name="approve"),
    path("migrations/<int:number>/approve/ask/", views.ask, name="ask"),
    path("routes/", views.route_list, name="routes"),
    path("routes/new/", views.route_edit, name="route_new"),
    path("routes/<slug:slug>/", views.route_detail, name="route"),
    path("routes/<slug:slug>/edit/", views.route_edit, name="route_edit"),
    path("routes/<slug:slug>/delete/", views.route_delete, name="route_delete"),
    path("environments/<slug:slug>/rules/", views.rules, name="rules"),
    path("environments/<slug:slug>/rules/freeze/", views.freeze_add, name="freeze_add"),
    path("environments/freezes/<uuid:uuid>/end/", views.freeze_end, name="freeze_end"),
]
