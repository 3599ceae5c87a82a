from django.urls import path

from . import views

app_name = "notices"
urlpatterns = [
    path("me/notices/", views.mine, name="mine"),
    path("webhooks/", views.webhook_list, name="webhooks"),
    path("webhooks/new/", views.webhook_edit, name="webhook_new"),
    path("webhooks/<uuid:uuid>/", views.webhook_detail, name="webhook"),
    path("webhooks/<uuid:uuid>/edit/", views.webhook_edit, name="webhook_edit"),
    path("webhooks/<uuid:uuid>/try/", views.webhook_try, name="webhook_try"),
    path("webhooks/<uuid:uuid>/delete/", views.webhook_delete, name="webhook_delete"),
    path("webhooks/deliveries/<uuid:uuid>/again/", views.delivery_again, name="delivery_again"),
]
