from django.urls import path, re_path

from . import views

app_name = "audit"
urlpatterns = [
    path("", views.audit_list, name="list"),
    re_path(r"^export\.(?P<kind>csv|jsonl)$", views.audit_export, name="export"),
]
