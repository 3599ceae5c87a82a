from django.urls import URLPattern, URLResolver, path

from . import views

app_name = "web"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.home, name="home"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", views.Logout.as_view(), name="logout"),
    path("me/", views.me, name="me"),
    path("styleguide/", views.styleguide, name="styleguide"),
]
