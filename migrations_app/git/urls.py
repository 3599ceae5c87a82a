from django.urls import path

from . import conflict_views, views

app_name = "git"
urlpatterns = [
    path("git/", views.repository_list, name="list"),
    path("git/new/", views.repository_new, name="new"),
    path("git/<slug:slug>/", views.repository_detail, name="detail"),
    path("git/<slug:slug>/edit/", views.repository_edit, name="edit"),
    path("git/<slug:slug>/remove/", views.repository_remove, name="remove"),
    path("git/<slug:slug>/test/", views.repository_check, name="check"),
    path("git/<slug:slug>/read/", views.repository_read, name="read"),
    path("git/<slug:slug>/commit/", views.commit, name="commit"),
    path("git/<slug:slug>/conflicts/<uuid:job>/", conflict_views.conflict, name="conflict"),
    path("git/<slug:slug>/deploy/", views.deploy, name="deploy"),
]
