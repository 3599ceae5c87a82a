from django.urls import path

from . import views

app_name = "jobs"
urlpatterns = [
    path("", views.job_list, name="list"),
    path("workers/", views.worker_list, name="workers"),
    path("<uuid:uuid>/", views.job_detail, name="detail"),
    path("<uuid:uuid>/progress/", views.job_progress, name="progress"),
    path("<uuid:uuid>/log/", views.job_log, name="log"),
    path("<uuid:uuid>/log.txt", views.job_log_text, name="log_text"),
    path("<uuid:uuid>/log.jsonl", views.job_log_lines, name="log_lines"),
    path("<uuid:uuid>/cancel/", views.job_cancel, name="cancel"),
    path("<uuid:uuid>/retry/", views.job_retry, name="retry"),
    path("<uuid:uuid>/answer/", views.job_answer, name="answer"),
]
