"""A third-party package through its whole life: found, configured, enabled, run, disabled, uninstalled, forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from environments.models import Environment
from environments.store import put_documents
from sstools.audit.models import AuditEvent
from sstools.jobs.models import Job
from sstools.plugins import services
from sstools.plugins.models import Plugin, PluginResult
from sstools.resources import resource_name
from tests.factories import chart_document, make_asset, make_environment
from tests.plugins import packages

pytestmark = pytest.mark.django_db
SECRET = "canary-naming-token"


@pytest.fixture
def prod(db: None) -> Environment:
    """With two charts as they were read; one is named as Acme has it."""
    environment = make_environment("prod")
    for title in ("ACME Net sales", "some chart"):
        document = chart_document(title)
        put_documents([document])
        make_asset(environment, "chart", title, document_id=document.fingerprint)
    return environment


def test_by_page(
    folder: Path,
    tmp_path: Path,
    prod: Environment,
    make_user: Callable[..., Any],
    signed_in: Callable[[Any], Client],
    run_jobs: Callable[[], int],
) -> None:
    admin, author = make_user("adam", "admin"), make_user("ann", "author")
    client, by_author = signed_in(admin), signed_in(author)
    assert "No plugins yet" in client.get("/plugins/").content.decode()
    packages.install(packages.build(packages.example(), tmp_path), folder)
    services.ask_for_look()  # as every supervisor does twice a minute
    run_jobs()
    page = client.get("/plugins/").content.decode()
    assert "Naming at Acme" in page
    assert "nowhere" in page
    assert Job.objects.count() == 1
    services.ask_for_look()  # nothing is new
    assert Job.objects.count() == 1

    # nothing of it runs before it is enabled
    scope = resource_name(prod)
    job = "/plugins/acme-naming/jobs/report/"
    assert "is switched on nowhere for you" in by_author.get(job).content.decode()

    # configured
    address = "/plugins/acme-naming/settings/"
    assert by_author.post(address, {"v-prefix": "ACME"}).status_code == 403
    answer = client.post(address, {"v-prefix": "acme", "v-longest": "5", "v-token": SECRET})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "It must look like [A-Z]+." in text
    assert "At least 10." in text
    assert Plugin.objects.get().secrets == ""
    answer = client.post(
        address, {"v-prefix": "ACME", "v-longest": "40", "v-token": SECRET, "v-strict": "on"}
    )
    assert answer.status_code == 302
    page = client.get("/plugins/acme-naming/").content.decode()
    assert "stored, never shown" in page
    assert SECRET not in page + client.get(address).content.decode()
    plugin = Plugin.objects.get()
    assert plugin.values == {"prefix": "ACME", "longest": 40, "strict": True}
    assert services.settings_of(plugin)["token"] == SECRET
    client.post(address, {"v-prefix": "ACME", "v-longest": "40", "v-token": ""})
    assert services.settings_of(Plugin.objects.get())["token"] == SECRET  # an empty one keeps it

    # enabled for a role, and for all
    client.post("/plugins/acme-naming/enable/", {"scope": scope, "roles": ["release_lead"]})
    assert "is switched on nowhere for you" in by_author.get(job).content.decode()
    client.post("/plugins/acme-naming/enable/", {"scope": scope})
    assert by_author.post(job, {"v-_environment": scope, "v-word_length": "0"}).status_code == 422

    # run
    answer = by_author.post(job, {"v-_environment": scope, "v-word_length": "3"})
    assert answer.status_code == 302
    run_jobs()
    done = Job.objects.latest("pk")
    assert (done.state, done.actor, done.title) == ("succeeded", author, "Naming at Acme: Report names")
    assert [line.text for line in done.logs.order_by("pk")][-1] == "1 names are not right"
    result = PluginResult.objects.get()
    page = by_author.get(result.get_absolute_url()).content.decode()
    for words in (
        "1 of 2 names are not right",
        "“some chart” is no name as Acme has them.",
        "Words in names",
        "sales",
    ):
        assert words in page, words
    by_author.post(job, {"v-_environment": scope, "v-word_length": "3"})
    run_jobs()
    assert "1 at first, 1 last, of 2 results" in by_author.get(job).content.decode()

    # a schedule of it
    given = {
        "name": "Names", "cron": "0 2 * * *", "time_zone": "UTC", "missed": "run_once", "grace_seconds": "600",
        "jitter_seconds": "0", "params-job": "acme-naming/report", "params-scope": scope, "params-values": "",
    }  # fmt: skip
    assert by_author.post("/schedules/new/?kind=plugins.run", given).status_code == 302

    # disabled, uninstalled, forgotten
    assert client.post("/plugins/acme-naming/forget/").status_code == 409
    client.post("/plugins/acme-naming/disable/", {"scope": scope})
    assert by_author.post(job, {"v-_environment": scope, "v-word_length": "3"}).status_code == 422
    packages.uninstall("acme-naming", folder)
    client.post("/plugins/look/")
    run_jobs()
    assert "It is not installed any more" in client.get("/plugins/acme-naming/").content.decode()
    page = client.get("/plugins/acme-naming/forget/").content.decode()
    for what, number in (("Results", 2), ("Stored secrets", 1), ("Schedules", 1)):
        assert f"<dt>{what}</dt><dd>{number}</dd>" in page
    assert client.post("/plugins/acme-naming/forget/").status_code == 302
    assert (Plugin.objects.count(), PluginResult.objects.count(), services.schedules_of(plugin).count()) == (
        0,
        0,
        0,
    )
    history = list(
        AuditEvent.objects.filter(object_name="plugin:acme-naming").values_list("action", flat=True)
    )
    assert set(history) == {f"plugin:{verb}" for verb in ("configure", "enable", "run", "disable", "forget")}
    told = "".join(str(row.data) for row in AuditEvent.objects.all()) + str(list(Job.objects.values()))
    assert SECRET not in told


def test_by_rest(
    folder: Path,
    tmp_path: Path,
    prod: Environment,
    make_user: Callable[..., Any],
    api: Callable[[Any], APIClient],
    run_jobs: Callable[[], int],
) -> None:
    admin, author = api(make_user("adam", "admin")), api(make_user("ann", "author"))
    packages.install(packages.build(packages.example(), tmp_path), folder)
    assert author.post("/api/v1/plugins/look/").status_code == 403
    assert admin.post("/api/v1/plugins/look/").status_code == 202
    run_jobs()
    one = "/api/v1/plugins/acme-naming/"
    (row,) = admin.get("/api/v1/plugins/").json()
    assert (row["state"], row["version"], row["enabled"]) == ("plugin_off", "1.2.0", [])
    assert [job["name"] for job in row["jobs"]] == ["report"]
    wrong = admin.patch(f"{one}settings/", {"longest": "x", "colour": "red"}, format="json")
    assert wrong.status_code == 422
    assert set(wrong.json()["errors"]) == {"longest", "colour"}
    row = admin.patch(f"{one}settings/", {"token": SECRET, "longest": 50}, format="json").json()
    assert (row["settings"]["longest"], row["secrets"]) == (50, ["token"])
    assert SECRET not in str(row)
    run = {"environment": "prod", "values": {"word_length": 3}}
    assert author.post(f"{one}jobs/report/", run, format="json").json()["code"] == "plugin_off"
    row = admin.post(f"{one}enable/", {"environment": "prod"}, format="json").json()
    assert row["enabled"] == [{"environment": "prod", "roles": []}]
    asked = author.post(f"{one}jobs/report/", run, format="json", HTTP_IDEMPOTENCY_KEY="once")
    again = author.post(f"{one}jobs/report/", run, format="json", HTTP_IDEMPOTENCY_KEY="once")
    assert (asked.status_code, again.json()["uuid"]) == (202, asked.json()["uuid"])
    run_jobs()
    (found,) = author.get(f"{one}results/").json()["results"]
    assert (found["summary"], found["counts"]) == ("1 of 2 names are not right", {"warning": 1})
    whole = author.get(f"{one}results/{found['id']}/").json()
    assert [finding["title"] for finding in whole["findings"]] == ["some chart"]
    # who may not see the environment sees nothing of it
    elsewhere = api(make_user("eve", "admin", on="environment:00000000-0000-0000-0000-000000000000"))
    assert elsewhere.get(f"{one}results/").json()["results"] == []
    assert elsewhere.get(f"{one}results/{found['id']}/").status_code == 404
    assert elsewhere.get(one).json()["enabled"] == []
    assert elsewhere.post(f"{one}enable/", {"environment": "prod"}, format="json").status_code == 422
    assert admin.delete(one).json()["code"] == "plugin_on"
    assert admin.post(f"{one}disable/", {"environment": "prod"}, format="json").json()["enabled"] == []
    assert admin.delete(one).json()["left"]["results"] == 1
    assert admin.get(one).json()["secrets"] == []  # still installed, and as new


def test_by_admin(
    installed: Callable[..., Plugin], make_user: Callable[..., Any], signed_in: Callable[[Any], Client]
) -> None:
    plugin = installed(packages.example())
    services.configure(plugin, {"token": SECRET}, actor=make_user("adam", "admin"))
    client = signed_in(make_user("root", is_superuser=True, is_staff=True))
    changes = "/admin/plugins/plugin/"
    assert "acme-naming" in client.get(changes).content.decode()
    detail = client.get(f"{changes}{plugin.pk}/change/")
    assert detail.status_code == 200
    assert SECRET not in detail.content.decode()

    def act(name: str) -> str:
        given = {"action": name, "_selected_action": [plugin.pk]}
        return client.post(changes, given, follow=True).content.decode()

    assert "it is on" in act("switch_on")
    assert plugin.enablements.get().scope == "*"
    assert "Disable it everywhere first" in act("forget")
    assert "it is off" in act("switch_off")
    assert "1 stored secrets" in act("forget")
    assert services.settings_of(Plugin.objects.get())["token"] is None


def test_another_version_counts_at_once_and_one_that_breaks_leaves_its_settings(
    installed: Callable[..., Plugin], folder: Path, make_user: Callable[..., Any], run_jobs: Callable[[], int]
) -> None:
    admin = make_user("adam", "admin")
    plugin = installed(packages.example())
    services.configure(plugin, {"longest": 41}, actor=admin)
    services.enable(plugin, "*", actor=admin)
    assert services.enabled_on("environment:any") == [plugin]
    packages.uninstall("acme-naming", folder)
    plugin = installed(packages.of_code("acme-naming", "raise RuntimeError('no licence')", "2.0"))
    assert (plugin.state, plugin.version) == ("plugin_broken", "2.0")
    assert services.enabled_on("environment:any") == []
    packages.uninstall("acme-naming", folder)
    plugin = installed(packages.example())
    assert plugin.state == "plugin_on"
    assert services.settings_of(plugin)["longest"] == 41
    services.configure(plugin, {"prefix": "ABCDEFGHIJK", "longest": 11}, actor=admin)
    services.request_look(actor=admin)
    run_jobs()
    plugin.refresh_from_db()
    assert (plugin.state, plugin.health) == (
        "plugin_ill",
        "No name can begin with the prefix and be short enough.",
    )
