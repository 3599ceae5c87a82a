from django.urls import URLPattern, URLResolver, path

from sstools.signin import views as signin

from . import views

app_name = "web"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.home, name="home"),
    path("login/", signin.Login.as_view(), name="login"),
    path("logout/", signin.Logout.as_view(), name="logout"),
    path("me/", views.me, name="me"),
    path("search/", views.search, name="search"),
    path("search/palette/", views.palette, name="palette"),
    path("styleguide/", views.styleguide, name="styleguide"),
]
