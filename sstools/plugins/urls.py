from django.urls import path

from . import views

app_name = "plugins"
urlpatterns = [
    path("", views.plugin_list, name="list"),
    path("look/", views.look, name="look"),
    path("<slug:name>/", views.plugin_detail, name="detail"),
    path("<slug:name>/enable/", views.enable, name="enable"),
    path("<slug:name>/disable/", views.disable, name="disable"),
    path("<slug:name>/settings/", views.configure, name="settings"),
    path("<slug:name>/forget/", views.forget, name="forget"),
    path("<slug:name>/jobs/<slug:job>/", views.job, name="job"),
    path("<slug:name>/results/<int:pk>/", views.result, name="result"),
]
