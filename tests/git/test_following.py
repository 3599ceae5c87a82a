"""Branches that are followed, by a look and by webhooks; holds after roll backs; a whole environment by schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from migrations_app import services as migrations
from migrations_app.files import sources
from migrations_app.git import following, holds, nightly, services, webhooks
from migrations_app.git.models import Follow, Hold, Repository
from migrations_app.models import Migration, Run
from migrations_app.release.models import Protection
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed, NotFoundError, SSToolsError
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .forge import signed
from .servers import commit_files, git
from .test_services import ALL, commit, edit, states

Work = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.django_db
REVENUE = uuid_for("Revenue")


@pytest.fixture
def filled(pair: FakePair, repository: Repository, author: Any, work: Work) -> Repository:
    """With all of dev on main, and a mapping for who brings it to prod."""
    work(commit(repository, pair, author, ALL))
    connections = {uuid_for("Warehouse DEV"): uuid_for("Warehouse PROD")}
    migrations.save_mapping(None, pair.target, actor=author, databases=connections)
    repository.refresh_from_db()
    return repository


def title_on_prod(pair: FakePair) -> str:
    return str(pair.prod.record("chart", REVENUE)["data"]["slice_name"])


def commit_title(pair: FakePair, repository: Repository, author: Any, work: Work, title: str) -> str:
    edit(pair, "Revenue", slice_name=title)
    return str(work(commit(repository, pair, author, [REVENUE], message=title))["commit"])


def test_what_is_new_on_a_branch_is_planned_once_and_a_newer_commit_takes_its_place(
    pair: FakePair, filled: Repository, folder: Path, author: Any, work: Work, run_jobs: Callable[[], int]
) -> None:
    follow = following.create_follow(filled, pair.target, actor=author)
    with pytest.raises(Conflict):
        following.create_follow(filled, pair.target, actor=author)
    done = work(following.request_look(follow, actor=author))
    run_jobs()
    first = Migration.objects.get()
    assert (done["outcome"], done["migration"]) == ("planning", first.number)
    assert (first.state, first.created_by) == ("planned", author)
    assert first.source_place == f"git:bi@{filled.branches['main']}"
    assert work(following.request_look(follow, actor=author))["outcome"] == "nothing_new"
    sha = commit_title(pair, filled, author, work, "Net revenue")
    assert work(following.request_look(follow, actor=author))["commit"] == sha
    first.refresh_from_db()
    assert first.state == "discarded"
    assert Run.objects.count() == 0
    # A commit that cannot be read is told once, and the next one is taken.
    broken = commit_files(folder, {"charts/x.yaml": "a: ["}, "Broken")
    work(following.request_look(follow, actor=author), fails="tree_unreadable")
    follow.refresh_from_db()
    assert (follow.sha, follow.outcome) == (broken, "failed")
    assert "charts/x.yaml" in follow.text
    assert work(following.request_look(follow, actor=author))["outcome"] == "nothing_new"
    following.update_follow(follow, actor=author, is_enabled=False)
    assert work(following.request_look(follow, actor=author)) == {"outcome": "off"}


def test_apply_when_green_writes_what_is_green_and_waits_where_something_is_open(
    pair: FakePair,
    filled: Repository,
    author: Any,
    release_lead: Any,
    work: Work,
    run_jobs: Callable[[], int],
) -> None:
    with pytest.raises(NotAllowed):
        following.create_follow(filled, pair.target, actor=author, policy_="apply")
    follow = following.create_follow(filled, pair.target, actor=release_lead, policy_="apply")
    work(following.request_look(follow, actor=author))
    run_jobs()
    run = Run.objects.get()
    assert (run.state, run.created_by, run.verdicts.count()) == ("applied", release_lead, 2)
    assert title_on_prod(pair) == "Revenue"
    # A rule of the target that nobody met: nothing is written until they do.
    rule = Protection.objects.create(environment=pair.target, approvals=1)
    commit_title(pair, filled, author, work, "Net revenue")
    work(following.request_look(follow, actor=author))
    run_jobs()
    waiting = Job.objects.get(kind="migrations_app.promote", state="needs_input")
    assert waiting.question is not None
    assert waiting.question["code"] == "approval_missing"
    assert title_on_prod(pair) == "Revenue"
    # Somebody edited the target meanwhile: it is asked about, not written over.
    rule.delete()
    record = pair.prod.record("chart", REVENUE)
    record["data"]["slice_name"] = "By hand"
    record["changed_on"] = pair.prod._now()
    commit_title(pair, filled, author, work, "Newest revenue")
    work(following.request_look(follow, actor=author))
    run_jobs()
    waiting = Job.objects.get(kind="migrations_app.promote", state="needs_input")
    assert waiting.question is not None
    assert waiting.question["code"] == "conflicts"
    assert title_on_prod(pair) == "By hand"


def test_a_protected_target_is_named_by_who_has_it_written_to(
    pair: FakePair, filled: Repository, release_lead: Any
) -> None:
    pair.target.protected = True
    pair.target.save()
    with pytest.raises(SSToolsError, match="type its name"):
        following.create_follow(filled, pair.target, actor=release_lead, policy_="apply")
    follow = following.create_follow(
        filled, pair.target, actor=release_lead, policy_="apply", confirmation="prod", from_now=True
    )
    assert follow.sha == filled.branches["main"]
    with pytest.raises(Invalid):
        following.update_follow(follow, actor=release_lead, policy_="force")


def test_a_roll_back_holds_what_comes_from_git_until_somebody_lifts_it(
    pair: FakePair, filled: Repository, author: Any, release_lead: Any, viewer: Any, work: Work,
    run_jobs: Callable[[], int],
) -> None:  # fmt: skip
    follow = following.create_follow(filled, pair.target, actor=release_lead, policy_="apply")
    work(following.request_look(follow, actor=author))
    run_jobs()
    commit_title(pair, filled, author, work, "Wrong revenue")
    work(following.request_look(follow, actor=author))
    run_jobs()
    assert title_on_prod(pair) == "Wrong revenue"
    bad = Run.objects.latest("number")
    rollback = migrations.create_rollback(bad, actor=release_lead)
    assert not Hold.objects.exists()  # nobody asked for it to be done
    work(migrations.request_plan(rollback, actor=release_lead))
    rollback.refresh_from_db()
    assert rollback.plan is not None
    migrations.request_apply(rollback, plan_hash=rollback.plan.hash, actor=release_lead)
    hold = Hold.objects.get()  # from the moment that it is asked for
    run_jobs()
    assert title_on_prod(pair) == "Revenue"
    assert (hold.created_by, hold.run) == (release_lead, bad)
    assert str(bad.number) in hold.reason

    # Nothing is done, by itself or by hand.
    sha = commit_title(pair, filled, author, work, "Right revenue")
    done = work(following.request_look(follow, actor=author))
    run_jobs()
    assert (done["outcome"], done["commit"]) == ("held", sha)
    assert release_lead.username in done["text"]
    by_hand = sources.create_migration(
        services.find_reading("bi@main", author), pair.target, actor=release_lead
    )
    work(migrations.request_plan(by_hand, actor=release_lead))
    by_hand.refresh_from_db()
    assert by_hand.plan is not None
    with pytest.raises(Conflict) as refused:
        migrations.request_apply(
            by_hand, plan_hash=by_hand.plan.hash, actor=release_lead, bypass_reason="I want it"
        )
    assert refused.value.code == "held"
    assert "Lift" in refused.value.remedy
    assert title_on_prod(pair) == "Revenue"

    for nobody in (author, viewer):
        with pytest.raises(NotAllowed):
            holds.lift(hold, actor=nobody)
    migrations.discard_migration(by_hand, actor=release_lead)
    holds.lift(hold, actor=release_lead, reason="It is mended")
    run_jobs()
    assert title_on_prod(pair) == "Right revenue"
    with pytest.raises(Conflict):
        holds.lift(hold, actor=release_lead)
    told = {
        (event.action, event.actor_name) for event in AuditEvent.objects.filter(action__startswith="hold:")
    }
    assert told == {("hold:create", release_lead.username), ("hold:lift", release_lead.username)}
    # By hand, for who knows before that nothing good comes.
    made = holds.put_on_hold(filled, pair.target, reason="Month end", actor=release_lead)
    with pytest.raises(Conflict):
        holds.put_on_hold(filled, pair.target, reason="Again", actor=release_lead)
    with pytest.raises(NotFoundError):
        holds.find_hold(uuid_for("none"), release_lead)
    assert holds.find_hold(made.uuid, viewer) == made


def test_a_run_that_takes_itself_back_holds_too(
    pair: FakePair,
    filled: Repository,
    author: Any,
    release_lead: Any,
    work: Work,
    run_jobs: Callable[[], int],
) -> None:
    follow = following.create_follow(filled, pair.target, actor=release_lead, policy_="apply")
    pair.prod.answers[uuid_for("orders")] = "no such column"
    work(following.request_look(follow, actor=author))
    run_jobs()
    if Run.objects.earliest("number").state != "rolled_back":
        pytest.fail(str([(run.state, run.error) for run in Run.objects.all()]))
    assert Hold.objects.get().repository == filled


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_a_webhook_is_believed_when_it_is_signed_and_does_nothing_twice(
    pair: FakePair, filled: Repository, admin: Any, author: Any, work: Work, kind: str
) -> None:
    follow = following.create_follow(filled, pair.target, actor=author)
    body = json.dumps({"ref": "refs/heads/main", "after": "x"}).encode()
    client = Client(enforce_csrf_checks=True)
    url = f"/hooks/git/{filled.uuid}/"

    def deliver(headers: dict[str, Any], body: bytes = body, where: str = url) -> tuple[int, bytes]:
        answer = client.post(where, body, content_type="application/json", **headers)
        return answer.status_code, answer.content

    nothing = deliver(signed(kind, body, ""))  # it takes none yet
    secret = webhooks.make_secret(filled, actor=admin)
    with pytest.raises(NotAllowed):
        webhooks.make_secret(filled, actor=author)
    assert nothing[0] == 404
    wrong = [
        deliver({}),
        deliver(signed(kind, body, "another")),
        deliver(signed(kind, body, secret) | {"HTTP_X_GITLAB_TOKEN": "x"}) if kind == "gitlab" else nothing,
        deliver(signed("github", body, secret), b"{}"),
        deliver(signed(kind, body, secret), where=f"/hooks/git/{uuid_for('none')}/"),
    ]
    assert {answer for answer in wrong} == {nothing}
    assert Job.objects.filter(kind="git.follow").count() == 0
    assert client.get(url).status_code == 405

    assert deliver(signed(kind, body, secret))[0] == 202
    job = Job.objects.get(kind="git.follow")
    assert job.actor == author
    other = json.dumps({"ref": "refs/heads/main", "after": "y"}).encode()
    assert deliver(signed(kind, other, secret), other)[0] == 202  # joins the one that waits
    assert work(job)["outcome"] == "planning"
    assert deliver(signed(kind, body, secret))[0] == 202  # replayed
    for harmless in (
        b'{"ref": "refs/tags/main"}',
        b'{"ref": ["refs/heads/main"]}',
        b"[]",
        b"\xff",
        b"[" * 90_000,
    ):
        assert deliver(signed(kind, harmless, secret), harmless)[0] == 202
    assert Job.objects.filter(kind="git.follow").count() == 1
    big = b" " * (webhooks.MOST_BYTES + 1)
    assert deliver(signed(kind, big, secret), big)[0] == 413
    newer = json.dumps({"ref": "refs/heads/main", "after": "z"}).encode()
    assert deliver(signed(kind, newer, secret), newer)[0] == 202
    assert Job.objects.filter(kind="git.follow").count() == 2
    assert Follow.objects.get() == follow
    assert secret not in str(list(AuditEvent.objects.values_list("data", flat=True)))
    webhooks.forget_secret(filled, actor=admin)
    assert deliver(signed(kind, newer, secret), newer) == nothing


def test_what_is_asked_for_while_it_looks_is_looked_at_afterwards(
    pair: FakePair, filled: Repository, author: Any, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migrations_app.git import work as git_work

    follow = following.create_follow(filled, pair.target, actor=author)
    real = git_work.refs_of
    refs: list[int] = []

    def refs_of(repository: Repository) -> dict[str, str]:
        found = real(repository)
        if (
            not refs
        ):  # somebody pushes after the branches were told, and the webhook comes while it is at work
            refs.append(following.look_at_branch(repository, "main"))
        return found

    monkeypatch.setattr(git_work, "refs_of", refs_of)
    work(following.request_look(follow, actor=author))
    assert refs == [1]
    queued = Job.objects.get(kind="git.follow", state="queued")
    assert work(queued)["outcome"] == "nothing_new"
    assert not Job.objects.filter(kind="git.follow", state="queued").exists()


def test_an_environment_is_committed_by_schedule_in_the_name_of_who_changed_it(
    pair: FakePair, repository: Repository, folder: Path, author: Any, viewer: Any, work: Work
) -> None:
    with pytest.raises(NotAllowed):
        nightly.request_commit_environment(repository, pair.source, actor=viewer)
    work(nightly.request_commit_environment(repository, pair.source, actor=author))
    assert set(states(repository, pair).values()) == {"same"}
    again = work(nightly.request_commit_environment(repository, pair.source, actor=author))
    assert again["unchanged"] is True
    assert git(folder, "rev-list", "--count", "main") == "1"
    author.first_name, author.last_name, author.email = "Ann", "Author", "ann@example.org"
    author.save()
    ann, bob = (
        {"first_name": first, "last_name": last} for first, last in (("Ann", "Author"), ("Bob", "Boss"))
    )
    for name, who, text in (("Revenue", ann, "a"), ("Regions", bob, "b"), ("Sales", ann, "c")):
        kind = "dashboard" if name == "Sales" else "chart"
        record = pair.dev.record(kind, uuid_for(name))
        record["data"]["css" if kind == "dashboard" else "description"] = text
        record["changed_on"], record["changed_by"] = pair.dev._now(), who
    done = work(nightly.request_commit_environment(repository, pair.source, actor=author))
    said = git(folder, "log", "-1", "--format=%an <%ae>|%cn|%B", "main")
    assert said.startswith("Ann Author <ann@example.org>|ss-tools|"), said
    assert "Co-authored-by: Bob Boss <ss-tools@localhost>" in said
    assert "chart “Regions” changed by Bob Boss" in said
    assert (done["authors"], done["assets"]) == (["Ann Author", "Bob Boss"], 3)
    assert git(folder, "rev-list", "--count", "main") == "2"
