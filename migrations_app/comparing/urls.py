from django.urls import path

from . import views

app_name = "comparing"
urlpatterns = [
    path("compare/", views.compare_list, name="list"),
    path("compare/read/", views.compare_read, name="read"),
    path("compare/viewed/", views.compare_viewed, name="viewed"),
    path("compare/beside/", views.compare_beside, name="beside"),
    path("compare/rules/", views.compare_rules, name="rules"),
    path("compare/files/", views.compare_files, name="files"),
    path("compare/files/<uuid:uuid>/remove/", views.compare_file_remove, name="file_remove"),
    path("compare/<str:kind>/<str:uuid>/", views.compare_asset, name="asset"),
    path("compare/<str:kind>/<str:uuid>/changes.diff", views.compare_diff, name="diff"),
]
