"""Repositories by page, REST and command, as people and programs use them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from migrations_app.git.models import CommitReading, Repository
from migrations_app.models import Migration
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .servers import commit_files, git
from .test_services import edit

Work = Callable[..., dict[str, Any]]


def done(work: Work, response: Any) -> dict[str, Any]:
    """Does the job whose page an answer leads to."""
    assert response.status_code == 302, response.content.decode()[-3000:]
    return work(Job.objects.get(uuid=response.headers["Location"].rstrip("/").rpartition("/")[2]))


@pytest.mark.django_db
def test_on_pages_a_repository_is_connected_committed_to_and_deployed_from(
    pair: FakePair, folder: Path, admin: Any, signed_in: Any, work: Work
) -> None:
    client = signed_in(admin)
    assert "No repositories yet" in client.get("/git/").content.decode()
    entered = {
        "name": "BI assets",
        "url": "file:///etc",
        "branch": "main",
        "author_name": "Bot",
        "author_email": "b@example.org",
    }
    refused = client.post("/git/new/", entered | {"secret": "s3cret"})
    assert refused.status_code == 422
    assert "SSTOOLS_GIT_FOLDERS" in refused.content.decode()
    assert "s3cret" not in refused.content.decode()
    made = client.post("/git/new/", entered | {"url": f"file://{folder}", "slug": "bi"})
    assert made.headers["Location"] == "/git/bi/"
    work(Job.objects.get(kind="git.check"))
    assert "Nothing is in it yet" in client.get("/git/bi/").content.decode()

    page = client.get("/git/bi/commit/?from=dev").content.decode()
    assert "5 differences" in page
    assert "Dev: add Sales and 4 more" in page
    wish = {
        "from": "dev",
        "at": "main",
        "base": "",
        "message": "First",
        "branch": "main",
        "with_dependencies": "on",
    }
    nothing = client.post("/git/bi/commit/", wish)
    assert (nothing.status_code, "Nothing is chosen" in nothing.content.decode()) == (422, True)
    stale = client.post("/git/bi/commit/", wish | {"what": "all", "count": "4"})
    assert (stale.status_code, "listed 4, and 5 differ" in stale.content.decode()) == (409, True)
    done(work, client.post("/git/bi/commit/", wish | {"what": "all", "count": "5"}))
    assert git(folder, "log", "--format=%an|%cn|%s", "main") == "admin|Bot|First"
    assert "Git has it all" in client.get("/git/bi/commit/?from=dev").content.decode()
    assert "git:bi@main" in client.get("/git/bi/").content.decode()

    edit(pair, "Revenue", slice_name="Net revenue")
    page = client.get("/git/bi/commit/?from=dev").content.decode()
    assert "1 difference" in page
    base = CommitReading.objects.get()
    assert f"/compare/chart/{uuid_for('Revenue')}/?left=env:dev&amp;right=git%3Abi%40{base.sha}" in page
    again = wish | {"pick": [uuid_for("Revenue")], "message": "Net"}
    stale = client.post("/git/bi/commit/", again)
    assert (stale.status_code, "was read again since" in stale.content.decode()) == (409, True)
    done(work, client.post("/git/bi/commit/", again | {"base": base.sha, "branch": "net"}))
    assert "M\tcharts/" in git(folder, "diff", "--name-status", "main", "net")

    page = client.get("/git/bi/deploy/?at=net&target=prod").content.decode()
    assert "“Net” by admin" in page
    sha = CommitReading.objects.latest("read_at").sha
    made = client.post(
        "/git/bi/deploy/", {"at": "net", "base": sha, "what": "all", "target": "prod", "verify": "on"}
    )
    migration = Migration.objects.get()
    assert made.headers["Location"] == f"/migrations/{migration.number}/plan/"
    assert migration.source_place == f"git:bi@{sha}"
    assert migration.job is not None
    work(migration.job)
    for step in ("select/", "map/", "plan/"):
        assert f"bi@{sha[:10]}" in client.get(f"/migrations/{migration.number}/{step}").content.decode(), step

    commit_files(folder, {"charts/bad.yaml": "a: ["}, "Broken")
    asked = client.post("/git/bi/read/", {"ref": "main"})
    work(Job.objects.get(uuid=asked.headers["Location"].rstrip("/")[-36:]), fails="tree_unreadable")
    assert "charts/bad.yaml" in client.get("/git/bi/deploy/").content.decode()
    assert client.post("/git/bi/remove/").status_code == 409
    migration.state = "discarded"
    migration.save()
    assert client.post("/git/bi/remove/").headers["Location"] == "/git/"
    assert Repository.objects.count() == 0


@pytest.mark.django_db
def test_by_rest_the_same(pair: FakePair, folder: Path, admin: Any, api: Any, work: Work) -> None:
    client = api(admin)

    def run(answer: Any) -> dict[str, Any]:
        assert answer.status_code == 202, answer.content
        return work(Job.objects.get(uuid=answer.json()["uuid"]))

    bad = client.post("/api/v1/repositories/", {"name": "x", "url": "ext::sh"}, format="json")
    assert (bad.status_code, "url" in bad.json()["errors"]) == (422, True)
    made = client.post(
        "/api/v1/repositories/", {"name": "BI", "url": f"file://{folder}", "secret": "s3cret"}, format="json"
    )
    assert made.status_code == 201, made.content
    assert "s3cret" not in made.content.decode()
    assert made.json()["has_secret"] is True
    there = f"/api/v1/repositories/{made.json()['uuid']}/"
    assert client.get(f"{there}changes/?environment=dev").status_code == 404  # nobody looked yet
    assert run(client.post(f"{there}check/"))["can_push"] is True
    found = client.get(f"{there}changes/?environment=dev").json()
    assert (found["base"], len(found["changes"]), found["same"]) == (None, 5, 0)
    wish = {"environment": "dev", "assets": [uuid_for("Sales")], "message": "All of it"}
    first = run(client.post(f"{there}commits/", wish, format="json", HTTP_IDEMPOTENCY_KEY="k"))
    assert git(folder, "rev-parse", "main") == first["commit"]
    assert client.post(f"{there}commits/", wish, format="json").json()["code"] == "empty_selection"
    other = commit_files(folder, {"x.txt": ""}, "Else")
    read = run(client.post(f"{there}readings/", {"ref": "main"}, format="json"))
    assert read["commit"] == other
    assert client.get(f"{there}changes/?environment=dev").json()["same"] == 5
    pair.read(pair.target)
    asked = {"target": "prod", "map": {"Warehouse DEV": "Warehouse PROD"}, "plan": True}
    created = client.post(f"{there}migrations/", asked, format="json", HTTP_IDEMPOTENCY_KEY="m")
    assert created.status_code == 201, created.content
    repeated = client.post(f"{there}migrations/", asked, format="json", HTTP_IDEMPOTENCY_KEY="m")
    assert repeated.json()["uuid"] == created.json()["uuid"]
    assert created.json()["source_place"] == read["place"]
    work(Migration.objects.get().job)  # type: ignore[arg-type]
    assert client.get(f"/api/v1/migrations/{created.json()['uuid']}/plan/").json()["counts"]["create"] == 4
    changed = client.patch(there, {"sign_off": True, "environment": "dev"}, format="json")
    assert (changed.json()["sign_off"], changed.json()["environment"], changed.json()["has_secret"]) == (
        True,
        "dev",
        True,
    )
    edit(pair, "Revenue", slice_name="Net revenue")
    run(client.post(f"{there}commits/", wish | {"assets": [uuid_for("Revenue")]}, format="json"))
    assert "Signed-off-by: admin <" in git(folder, "log", "-1", "--format=%b", "main")
    assert client.delete(there).status_code == 409  # a migration takes from it


@pytest.mark.django_db(transaction=True)
def test_by_command_the_same(pair: FakePair, repository: Repository, folder: Path) -> None:
    def command(*words: str) -> tuple[int, Any]:
        out = io.StringIO()
        try:
            call_command(*words, "--json", stdout=out, stderr=io.StringIO())
        except SystemExit as ended:
            return int(str(ended.code)), json.loads(out.getvalue())
        return 0, json.loads(out.getvalue())

    commit = ["commit", "--from", "env:dev", "--to", "git:bi"]
    code, told = command(*commit, "--check")
    assert (code, told["result"], len(told["changes"])) == (2, "changes", 5)
    code, told = command(*commit, "--dashboard", "Sales")
    assert (code, told["result"]) == (0, "committed"), told
    assert git(folder, "rev-parse", "main") == told["commit"]["commit"]
    assert git(folder, "log", "-1", "--format=%s", "main") == "Dev: add Sales"
    assert command(*commit, "--all")[1]["result"] == "nothing_to_do"
    assert command(*commit)[0] == 1  # it does not say what
    edit(pair, "Revenue", slice_name="Net revenue")
    code, told = command("commit", "--from", "env:dev", "--to", "git:bi@net", "--all", "-m", "Net")
    assert (code, told["commit"]["branch"]) == (0, "net"), told
    plan = [
        "plan",
        "--from",
        "git:bi@net",
        "--to",
        "env:prod",
        "--all",
        "--map",
        "Warehouse DEV=Warehouse PROD",
    ]
    code, told = command(*plan)
    assert (code, told["plan"]["counts"]["create"]) == (2, 4), told
    assert told["migration"]["source_place"] == f"git:bi@{git(folder, 'rev-parse', 'net')}"
    assert command("plan", "--from", "git:bi@nowhere", "--to", "env:prod", "--all")[0] == 1
