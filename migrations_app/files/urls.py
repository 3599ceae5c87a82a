from django.urls import path

from . import pages, views

app_name = "files"
urlpatterns = [
    path("migrations/from-file/", pages.file_upload, name="upload"),
    path("migrations/from-file/<uuid:uuid>/", pages.file_migrate, name="migrate"),
    path("files/audits/", views.audit_list, name="audits"),
    path("files/audits/<uuid:uuid>/", views.audit_detail, name="audit"),
    path("files/audits/<uuid:uuid>/progress/", views.audit_progress, name="audit_progress"),
    path("files/audits/<uuid:uuid>/remove/", views.audit_remove, name="audit_remove"),
]
