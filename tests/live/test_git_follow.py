"""The whole way on a real Superset 6.1.0: a commit, a pull request on a forge, somebody merges it, the webhook, the
deploy, its verification; then a roll back, and the hold that it puts on what comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from migrations_app import services as migrations
from migrations_app.git import following, holds, services, webhooks
from migrations_app.git.models import Hold, PullRequest, Repository
from migrations_app.models import Run
from sstools.jobs.models import Job
from tests.git.forge import forge_server
from tests.git.servers import bare, commit_files, git, http_server
from tests.live.product import Product, by_title, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

TOKEN = "ghp-tokenTOKENtoken"
TITLE = "Genders by State"


def test_a_commit_is_merged_on_a_forge_deployed_by_its_webhook_taken_back_and_held(
    product: Product,
    dev: RunningSuperset,
    fresh_target: Callable[..., RunningSuperset],
    run_jobs: Callable[[], int],
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]
    settings.PUBLIC_URL = "https://ss.example"
    superset = fresh_target()
    source, target = product.register("dev", dev), product.register("prod", superset)
    folder = bare(tmp_path / "root" / "team" / "bi.git")
    commit_files(folder, {"LICENSE": "ours\n"}, "Begun by hand")
    (chart,) = product.uuids(source, "chart", title=TITLE)
    with http_server(tmp_path / "root", "bot", TOKEN) as url, forge_server("github", folder, TOKEN) as forge:
        row = services.register_repository(
            {
                "name": "BI", "slug": "bi", "url": f"{url}/team/bi.git", "username": "bot", "statuses": True,
                "forge": "github", "forge_url": f"{forge.url}/api/v3",
            },
            secret=TOKEN,
            actor=product.admin,
        )  # fmt: skip
        product.do(services.request_reading(row, actor=product.admin))
        row = Repository.objects.get()
        secret = webhooks.make_secret(row, actor=product.admin)
        connections = {
            product.uuids(source, "database")[0]: product.uuids(target, "database", title="Warehouse PROD")[0]
        }
        migrations.save_mapping(None, target, actor=product.admin, databases=connections)
        follow = following.create_follow(
            row, target, actor=product.admin, policy_="apply", confirmation=target.slug, from_now=True
        )

        def push_arrives() -> None:
            body, headers = forge.delivery("main", secret)
            answer = Client().post(
                f"/hooks/git/{row.uuid}/", body, content_type="application/json", **headers
            )
            assert answer.status_code == 202
            run_jobs()

        # Commit and pull request.
        done = product.do(
            services.request_commit(
                row, source, uuids=[chart], message="Births by state", branch="births",
                base=services.reading_of(row, "main"), pull_request=True, actor=product.admin,
            )
        ).result  # fmt: skip
        pull = PullRequest.objects.get()
        assert done is not None
        assert done["pull_request"] == {"number": 1, "url": pull.url, "is_new": True}
        assert f"New: chart {TITLE}" in forge.pulls[0]["text"]

        # Merged there; nobody here does anything.
        assert TITLE not in {item.title for item in product.read(target).documents.values()}
        merged = forge.merge(1)
        push_arrives()
        run = Run.objects.get()
        assert (run.state, [one.status for one in run.verdicts.all()]) == ("applied", ["ok"]), run.error
        assert run.migration.source_place == f"git:bi@{merged}"
        assert by_title(product.read(target), Kind.CHART, TITLE).uuid == chart
        said = [(sha, body["state"], body["context"]) for sha, body in forge.statuses]
        assert said[0] == (merged, "pending", "ss-tools/prod")
        assert said[-1] == (merged, "success", "ss-tools/prod")
        assert forge.statuses[-1][1]["target_url"].startswith("https://ss.example/migrations/")

        # Taken back, and held: what is merged next is not brought, until somebody says so.
        assert product.apply(product.roll_back(run)).state == "applied"
        assert TITLE not in {item.title for item in product.read(target).documents.values()}
        hold = Hold.objects.get()
        assert (hold.run, hold.created_by, hold.target) == (run, product.admin, target)
        path = f"charts/genders_by_state_{chart[:8]}.yaml"
        file = git(folder, "show", f"main:{path}") + "\n"
        sha = commit_files(
            folder, {path: file.replace(f"slice_name: {TITLE}", "slice_name: By state")}, "Shorter"
        )
        push_arrives()
        follow.refresh_from_db()
        assert (follow.outcome, follow.seen_sha) == ("held", sha)
        assert Run.objects.count() == 2
        holds.lift(hold, actor=product.admin, reason="Talked about")
        run_jobs()
        last = Run.objects.latest("number")
        assert (last.state, last.migration.source_place) == ("applied", f"git:bi@{sha}"), last.error
        assert by_title(product.read(target), Kind.CHART, "By state").uuid == chart
    assert not Job.objects.filter(state="failed").exists()
    assert TOKEN not in str(list(Job.objects.values_list("result", "error", "params")))
