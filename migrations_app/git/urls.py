from django.urls import path

from . import conflict_views, follow_views, hook_view, views

app_name = "git"
urlpatterns = [
    path("hooks/git/<uuid:uuid>/", hook_view.hook, name="hook"),
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
    path("git/<slug:slug>/follow/", follow_views.follows, name="follows"),
    path("git/<slug:slug>/webhook/", follow_views.webhook, name="webhook"),
    path("git/<slug:slug>/hold/", follow_views.hold, name="hold"),
    path("git/<slug:slug>/pull/", follow_views.pull, name="pull"),
    path("git/follows/<uuid:uuid>/look/", follow_views.look, name="look"),
    path("git/follows/<uuid:uuid>/change/", follow_views.change, name="change"),
    path("git/follows/<uuid:uuid>/remove/", follow_views.remove, name="follow_remove"),
    path("git/holds/<uuid:uuid>/lift/", follow_views.lift, name="lift"),
]
