from django.urls import path

from . import views

app_name = "roles"
urlpatterns = [
    path("", views.own, name="list"),
    path("sessions/end/", views.own_sessions_end, name="own_sessions_end"),
    path("tokens/", views.own_tokens, name="own_tokens"),
    path("tokens/<int:pk>/end/", views.token_end, name="token_end"),
    path("users/", views.user_list, name="users"),
    path("users/new/", views.user_new, name="user_new"),
    path("users/new-program/", views.program_new, name="program_new"),
    path("users/<int:pk>/tokens/", views.user_tokens, name="user_tokens"),
    path("users/<int:pk>/", views.user_detail, name="user"),
    path("users/<int:pk>/edit/", views.user_edit, name="user_edit"),
    path("users/<int:pk>/switch/", views.user_switch, name="user_switch"),
    path("users/<int:pk>/sessions/end/", views.user_sessions_end, name="user_sessions_end"),
    path("users/<int:pk>/link/", views.user_link, name="user_link"),
    path("roles/", views.role_list, name="roles"),
    path("roles/new/", views.role_new, name="role_new"),
    path("roles/<slug:key>/", views.role_detail, name="role"),
    path("roles/<slug:key>/edit/", views.role_edit, name="role_edit"),
    path("roles/<slug:key>/delete/", views.role_delete, name="role_delete"),
    path("groups/", views.group_list, name="groups"),
    path("groups/new/", views.group_new, name="group_new"),
    path("groups/<int:pk>/", views.group_detail, name="group"),
    path("groups/<int:pk>/members/", views.group_members, name="group_members"),
    path("groups/<int:pk>/delete/", views.group_delete, name="group_delete"),
    path("grants/", views.grant_list, name="grants"),
    path("grants/new/", views.grant_new, name="grant_new"),
    path("grants/<int:pk>/", views.grant_edit, name="grant"),
    path("grants/<int:pk>/take/", views.grant_take, name="grant_take"),
    path("try/", views.try_user, name="try"),
    path("password/<uidb64>/<token>/", views.Password.as_view(), name="password"),
]
