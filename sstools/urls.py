"""The one map of URLs. Other packages are named as strings: nothing in the shell imports them."""

from django.contrib import admin
from django.urls import include, path

from sstools import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/", include("sstools.api.urls")),
    path("admin/", admin.site.urls),
    path("access/", include("sstools.roles.urls")),
    path("jobs/", include("sstools.jobs.urls")),
    path("audit/", include("sstools.audit.urls")),
    path("oauth2/", include("sstools.signin.urls")),
    path("schedules/", include("sstools.schedules.urls")),
    path("plugins/", include("sstools.plugins.urls")),
    path("backups/", include("environments.backups.urls")),
    path("", include("environments.urls")),
    path("", include("migrations_app.assets.urls")),
    path("", include("migrations_app.drift.urls")),
    path("", include("migrations_app.fanout.urls")),
    path("", include("migrations_app.release.urls")),
    path("", include("migrations_app.rehearsals.urls")),
    path("", include("migrations_app.urls")),
    path("", include("migrations_app.estate.urls")),
    path("", include("migrations_app.files.urls")),
    path("", include("migrations_app.restoring.urls")),
    path("", include("migrations_app.git.urls")),
    path("", include("migrations_app.replacing.urls")),
    path("", include("migrations_app.comparing.urls")),
    path("", include("sstools.notices.urls")),
    path("", include("sstools.web.urls")),
]

handler404 = "sstools.api.errors.handler404"
handler500 = "sstools.api.errors.handler500"
handler403 = "sstools.api.errors.handler403"
handler400 = "sstools.api.errors.handler400"
