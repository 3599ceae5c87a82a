"""Files as the source of a migration: uploaded, mapped, planned, applied, verified on the target, rolled back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command

from environments.superset.archives import archive_files, pack_files
from migrations_app import services
from migrations_app.comparing import uploads
from migrations_app.comparing.models import UploadedBundle
from migrations_app.models import Mapping, Migration, Run
from migrations_app.release import gate
from migrations_app.release.models import Route
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Job
from sstools.jobs.runner import run_job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.superset.helpers import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


def tree_of(pair: FakePair) -> dict[str, bytes]:
    """What preset-cli makes of dev: the export without its root folder and metadata."""
    bundle = archive_files(client_of(pair.dev).export_assets().to_zip())
    files = {path.partition("/")[2]: content for path, content in bundle.items()}
    del files["metadata.yaml"]
    return files


def boards(pair: FakePair) -> list[str]:
    pair.read(pair.target)
    return list(pair.target.assets.filter(kind="dashboard").values_list("title", flat=True))


def work(job: Job | None) -> None:
    assert job is not None
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert job.state == "succeeded", job.error


def test_a_tree_is_uploaded_mapped_planned_applied_verified_and_rolled_back_on_pages(
    pair: FakePair, admin: Any, signed_in: Any
) -> None:
    client = signed_in(admin)
    file = SimpleUploadedFile("tree.zip", pack_files(tree_of(pair)))
    there = client.post("/migrations/from-file/", {"file": file}).headers["Location"]
    assert "Sales" in client.get(there).content.decode()
    made = client.post(there, {"what": "all", "target": "prod", "with_dependencies": "on", "verify": "on"})
    migration = Migration.objects.get()
    assert made.headers["Location"] == f"/migrations/{migration.number}/plan/"
    assert (migration.source, migration.source_name) == (None, "tree.zip")
    work(migration.job)
    migration.refresh_from_db()
    assert migration.plan is not None
    assert migration.plan.counts["blocked"]  # its connection is not mapped
    page = f"/migrations/{migration.number}/"
    for step in ("select/", "map/", "plan/"):
        assert client.get(page + step).status_code == 200, step
    mapped = {f"target:{uuid_for('Warehouse DEV')}": uuid_for("Warehouse PROD")}
    assert client.post(page + "map/", mapped).status_code == 302
    assert Mapping.objects.get().source is None
    migration.refresh_from_db()
    work(migration.job)
    migration = Migration.objects.get()
    assert migration.plan is not None
    assert (migration.plan.counts["create"], migration.plan.blocked_count) == (4, 0)
    assert client.get(page + "plan/").status_code == 200
    assert client.get(page + f"items/{uuid_for('orders')}/").status_code == 200
    work(services.request_apply(migration, plan_hash=migration.plan.hash, actor=admin))
    run = Run.objects.get()
    assert (run.state, run.verdict_counts) == ("applied", {"ok": 2})
    assert client.get(page + "verify/").status_code == 200
    assert boards(pair) == ["Sales"]
    work(services.request_verification(run, actor=admin))
    back = services.create_rollback(run, actor=admin)
    work(services.request_plan(back, actor=admin))
    back.refresh_from_db()
    assert back.plan is not None
    work(services.request_apply(back, plan_hash=back.plan.hash, actor=admin))
    assert boards(pair) == []


@pytest.mark.django_db(transaction=True)
def test_by_command_a_folder_is_planned_and_a_second_time_there_is_nothing_to_do(
    pair: FakePair, admin: Any, tmp_path: Path
) -> None:
    pair.read(pair.target)
    for path, content in tree_of(pair).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)

    def plan(*words: str) -> tuple[int, Any]:
        out = io.StringIO()
        given = ["--from", f"file:{tmp_path}", "--to", "prod", "--json", *words]
        try:
            call_command("plan", *given, stdout=out, stderr=io.StringIO())
        except SystemExit as ended:
            return int(str(ended.code)), json.loads(out.getvalue())
        return 0, json.loads(out.getvalue())

    code, told = plan("--dashboard", "Sales", "--map", "Warehouse DEV=Warehouse PROD")
    assert (code, told["plan"]["counts"]["create"]) == (2, 4), told
    migration = Migration.objects.get()
    assert migration.plan is not None
    work(services.request_apply(migration, plan_hash=migration.plan.hash, actor=admin))
    code, told = plan("--all")
    assert (code, told["result"]) == (0, "nothing_to_do")


def test_by_api_a_file_is_uploaded_and_planned_and_is_kept_while_it_is_needed(
    pair: FakePair, admin: Any, api: Any
) -> None:
    client = api(admin)
    file = SimpleUploadedFile("tree.zip", pack_files(tree_of(pair)))
    kept = client.post("/api/v1/comparisons/files/", {"file": file}, format="multipart").json()
    pair.read(pair.target)
    asked = {"file": kept["uuid"], "target": "prod", "map": {"Warehouse DEV": "Warehouse PROD"}, "plan": True}
    asked["carrying"] = {"saved_queries": "on"}  # by itself only where there are some
    made = client.post("/api/v1/file-migrations/", asked, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["source_place"] == kept["place"]
    assert made.json()["carrying"]["saved_queries"] == "on"
    migration = Migration.objects.get()
    work(migration.job)
    assert client.get(f"/api/v1/migrations/{migration.uuid}/plan/").json()["counts"]["create"] == 4
    bundle = UploadedBundle.objects.get()
    with pytest.raises(Conflict, match="takes its assets"):
        uploads.remove_upload(bundle, actor=admin)
    UploadedBundle.objects.update(expires_at=bundle.uploaded_at)
    assert uploads.forget_uploads() == 0
    with pytest.raises(Invalid, match="chosen when it is made"):
        services.update_migration(migration, actor=admin, selection=[uuid_for("Revenue")])
    services.discard_migration(migration, actor=admin)
    assert uploads.forget_uploads() == 1
    assert client.get(f"/api/v1/migrations/{migration.uuid}/").status_code == 200


def test_a_key_stands_for_one_file_and_target_and_gives_nothing_away(
    pair: FakePair, admin: Any, api: Any
) -> None:
    client = api(admin)
    data = pack_files(tree_of(pair))
    pair.read(pair.target)
    files = [
        client.post(
            "/api/v1/comparisons/files/", {"file": SimpleUploadedFile("tree.zip", data)}, format="multipart"
        ).json()["uuid"]
        for _ in range(2)
    ]

    def ask(file: str, target: str) -> Any:
        body = {"file": file, "target": target}
        return client.post("/api/v1/file-migrations/", body, format="json", HTTP_IDEMPOTENCY_KEY="one")

    made = ask(files[0], "prod").json()
    assert ask(files[0], "prod").json()["uuid"] == made["uuid"]
    for again in (ask(files[1], "prod"), ask(files[0], "dev"), ask(files[0], "nowhere")):
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_key_reused")


def test_a_file_is_no_way_around_the_approvals_of_a_route(pair: FakePair) -> None:
    route = Route.objects.create(name="Way", slug="way", source=pair.source, target=pair.target, approvals=1)
    migration = Migration.objects.create(
        title="x", source_place="file:00000000-0000-4000-8000-000000000001", target=pair.target
    )
    assert gate.routes_of(migration) == [route]
