"""What follows a branch, by page and REST, as people and programs use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from migrations_app.git.models import Follow, Hold, PullRequest, Repository
from migrations_app.models import Migration
from sstools.jobs.models import Job
from tests.fakes.pair import FakePair

from .test_following import filled
from .test_pages import done

Work = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.django_db
__all__ = ["filled"]


def test_on_pages_a_branch_is_followed_held_and_lifted_and_a_secret_is_shown_once(
    pair: FakePair, filled: Repository, admin: Any, viewer: Any, signed_in: Any, work: Work
) -> None:
    client = signed_in(admin)
    pair.target.protected = True
    pair.target.save()
    assert "No branch is followed" in client.get("/git/bi/follow/").content.decode()
    wish = {"branch": "main", "target": "prod", "policy": "apply", "roll_back_when_red": "on"}
    refused = client.post("/git/bi/follow/", wish)
    assert (refused.status_code, "Type prod." in refused.content.decode()) == (422, True)
    assert (
        client.post("/git/bi/follow/", wish | {"confirmation": "prod"}).headers["Location"]
        == "/git/bi/follow/"
    )
    follow = Follow.objects.get()
    assert work(Job.objects.get(kind="git.follow"))["outcome"] == "applying"
    page = client.get("/git/bi/follow/").content.decode()
    assert f"Migration {Migration.objects.get().number}" in page
    assert "applied when green" in page

    made = client.post("/git/bi/webhook/")
    filled.refresh_from_db()
    assert str(filled.hook_secret) in made.content.decode()
    assert "no-store" in made.headers["Cache-Control"]
    assert str(filled.hook_secret) not in client.get("/git/bi/follow/").content.decode()
    assert client.post("/git/bi/webhook/", {"off": "1"}).status_code == 302
    filled.refresh_from_db()
    assert not filled.hook_secret

    client.post("/git/bi/hold/", {"target": "prod", "reason": "Month end"})
    assert done(work, client.post(f"/git/follows/{follow.uuid}/look/"))["outcome"] == "held"
    for address in ("/git/bi/", "/git/bi/follow/"):
        assert "Month end" in client.get(address).content.decode()
    hold = Hold.objects.get()
    seen = signed_in(viewer).get("/git/bi/follow/").content.decode()
    assert "Month end" in seen
    assert "Lift the hold" not in seen
    client.post(f"/git/holds/{hold.uuid}/lift/", {"reason": "It is over"})
    page = client.get("/git/bi/follow/").content.decode()
    assert "It is over" in page
    assert "is on hold" not in page
    client.post(f"/git/follows/{follow.uuid}/change/", {"enabled": "0"})
    client.post(f"/git/follows/{follow.uuid}/change/", {"enabled": "1"})  # the name was not typed
    follow.refresh_from_db()
    assert not follow.is_enabled
    client.post(f"/git/follows/{follow.uuid}/change/", {"enabled": "1", "confirmation": "prod"})
    follow.refresh_from_db()
    assert follow.is_enabled
    client.post(f"/git/follows/{follow.uuid}/remove/")
    assert not Follow.objects.exists()
    PullRequest.objects.create(
        repository=filled, branch="net", into="main", number=7, url="https://f.example/7"
    )
    assert 'href="https://f.example/7"' in client.get("/git/bi/").content.decode()


def test_by_rest_the_same(
    pair: FakePair, filled: Repository, admin: Any, release_lead: Any, api: Any, work: Work
) -> None:
    client = api(admin)

    def ask(method: str, address: str, wish: Any = None, status: int = 200) -> Any:
        answer = getattr(client, method)(f"/api/v1/{address}", wish, format="json")
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else None

    there = f"repositories/{filled.uuid}/"
    wish = {"repository": str(filled.uuid), "target": "prod"}
    made = ask("post", "follows/", wish, 201)
    assert (made["policy"], made["branch"], made["owner"], made["held"]) == (
        "plan",
        "main",
        admin.username,
        None,
    )
    assert ask("post", "follows/", wish, 409)["code"] == "followed"
    assert ask("post", "follows/", wish | {"target": "nowhere"}, 422)["errors"]["target"]
    one = f"follows/{made['uuid']}/"
    assert ask("patch", one, {"policy": "apply", "roll_back_when_red": False})["policy"] == "apply"
    job = Job.objects.get(uuid=ask("post", f"{one}look/", status=202)["uuid"])
    assert work(job)["outcome"] == "applying"
    hold = ask("post", "holds/", wish | {"reason": "Month end"}, 201)
    assert ask("get", one)["held"] == hold["uuid"]
    assert [row["held"] for row in ask("get", "follows/")["results"]] == [hold["uuid"]]
    assert [row["reason"] for row in ask("get", f"holds/?repository={filled.uuid}")["results"]] == [
        "Month end"
    ]
    lifted = ask("post", f"holds/{hold['uuid']}/lift/", {"reason": "Over"})
    assert (lifted["lifted_by"], lifted["lift_reason"]) == (admin.username, "Over")
    assert ask("post", f"holds/{hold['uuid']}/lift/", {}, 409)["code"] == "lifted"
    ask("delete", one, status=204)

    secret = ask("post", f"{there}webhook-secret/", status=201)
    assert secret["url"].endswith(f"/hooks/git/{filled.uuid}/")
    shown = ask("get", there)
    assert (shown["takes_webhooks"], shown["has_forge_secret"]) == (True, False)
    assert secret["secret"] not in str(shown)
    ask("delete", f"{there}webhook-secret/", status=204)
    changed = ask(
        "patch", there, {"forge": "gitlab", "forge_url": "https://g.example/api/v4", "forge_secret": "s"}
    )
    assert (changed["forge"], changed["has_forge_secret"], "forge_secret" in changed) == (
        "gitlab",
        True,
        False,
    )
    assert ask("patch", there, {"forge_url": "https://evil.example"}, 422)["code"] == "secret_needed"
    PullRequest.objects.create(
        repository=filled, branch="net", into="main", number=7, url="https://f.example/7"
    )
    assert [row["number"] for row in ask("get", f"{there}pull-requests/")] == [7]
    assert ask("post", f"{there}pull-requests/", {"branch": "main"}, 422)["code"] == "pull_request_branch"
    night = ask("post", f"{there}environment-commits/", {"environment": "dev"}, 202)
    assert work(Job.objects.get(uuid=night["uuid"]))["unchanged"] is True
    number = Migration.objects.latest("number").number
    assert ask("post", f"{there}statuses/", {"migration": number}, 202)["kind"] == "git.status"
    assert ask("post", f"{there}statuses/", {"migration": 999_999}, 422)["errors"]["migration"]
