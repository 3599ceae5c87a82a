"""The product's own settings, in a data folder of the test run; SSTOOLS_TEST_DATABASE=postgres for PostgreSQL 16."""

import atexit
import os
import shutil
import tempfile

if (
    "SSTOOLS_TEST_DATA" not in os.environ
):  # the first process makes it; workers of xdist and servers inherit it
    made = tempfile.mkdtemp(prefix="sstools-test-")
    os.environ["SSTOOLS_TEST_DATA"] = made
    atexit.register(shutil.rmtree, made, ignore_errors=True)
for name in [
    name
    for name in os.environ
    if name.startswith("SSTOOLS_") and not name.startswith(("SSTOOLS_TEST_", "SSTOOLS_LAB_"))
]:
    if "SSTOOLS_TEST_KEEP" not in os.environ:  # a developer's own settings must not decide what tests see
        del os.environ[name]
os.environ.setdefault("SSTOOLS_DATA_DIR", os.environ["SSTOOLS_TEST_DATA"])
os.environ.setdefault("SSTOOLS_LOG_LEVEL", "WARNING")

if os.environ.get("SSTOOLS_TEST_DATABASE") == "postgres" and "SSTOOLS_DATABASE_URL" not in os.environ:
    from tests.postgres import server_url

    os.environ["SSTOOLS_DATABASE_URL"] = server_url(os.environ["SSTOOLS_TEST_DATA"])

from sstools.settings import *  # noqa: E402, F403
from sstools.settings import DATABASES, INSTALLED_APPS, STATIC_ROOT, STORAGES  # noqa: E402

INSTALLED_APPS = [*INSTALLED_APPS, "tests.trial"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file and not memory: threads of a test (heartbeats, servers) have connections of their own.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["SSTOOLS_TEST_DATA"], "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
os.makedirs(STATIC_ROOT, exist_ok=True)
