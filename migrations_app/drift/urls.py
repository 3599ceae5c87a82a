from django.urls import path

from . import views

app_name = "drift"
urlpatterns = [
    path("drift/", views.finding_list, name="list"),
    path("drift/answer/", views.answer_many, name="answer_many"),
    path("drift/<uuid:uuid>/", views.finding_detail, name="finding"),
    path("drift/<uuid:uuid>/take/", views.take, name="take"),
    path("drift/<uuid:uuid>/revert/", views.revert, name="revert"),
    path("drift/<uuid:uuid>/accept/", views.accept, name="accept"),
    path("routes/<slug:slug>/check/", views.check, name="check"),
    path("routes/<slug:slug>/watch/", views.watch, name="watch"),
]
