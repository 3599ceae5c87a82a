"""Pull requests and statuses by the three APIs, each behind a real HTTP server that answers as it is documented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app import services as migrations
from migrations_app.files import sources
from migrations_app.git import forges, services, statuses
from migrations_app.git.models import PullRequest, Repository
from migrations_app.git.reviewing import plain
from sstools.errors import Invalid, SSToolsError
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .forge import TOKEN, FakeForge, forge_server
from .test_services import ALL, commit, edit

Work = Callable[..., dict[str, Any]]


@pytest.fixture(params=["github", "gitlab", "gitea"])
def forge(request: pytest.FixtureRequest, folder: Path, settings: Any) -> Iterator[FakeForge]:
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]
    with forge_server(request.param, folder) as fake:
        yield fake


@pytest.fixture
def hosted(repository: Repository, forge: FakeForge, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The repository's files are taken from the folder, as if the forge served them; its API is the forge's."""
    repository.forge, repository.forge_secret = forge.kind, TOKEN
    repository.forge_url = forges.api_of(forge.kind, forge.repository)
    repository.save()
    real = forges.address_of

    def address_of(row: Repository) -> forges.Address:
        found = real(row)
        return forges.Address(found.kind, found.api, "team/bi", found.token)

    monkeypatch.setattr(forges, "address_of", address_of)
    return repository


@pytest.mark.django_db
def test_a_commit_to_a_branch_opens_a_request_that_says_what_changes(
    pair: FakePair, hosted: Repository, forge: FakeForge, author: Any, work: Work
) -> None:
    work(commit(hosted, pair, author, ALL))
    with pytest.raises(Invalid, match="branch of its own"):
        commit(hosted, pair, author, ALL, pull_request=True)
    edit(pair, "Revenue", slice_name="Net <b>@all</b> revenue", description="Without tax")
    done = work(
        commit(
            hosted,
            pair,
            author,
            [uuid_for("Revenue")],
            branch="net",
            message="Net\n\nAs asked.",
            pull_request=True,
        )
    )
    (pull,) = forge.pulls
    assert (pull["head"], pull["base"], pull["title"]) == ("net", "main", "Net")
    assert "1 asset: 1 changed" in pull["text"]
    assert "name: “Revenue”" in pull["text"] or "name: Revenue" in pull["text"], pull["text"]
    assert "description" in pull["text"]
    assert "<b>" not in pull["text"]
    assert "@all" not in pull["text"]
    assert TOKEN not in pull["text"]
    known = PullRequest.objects.get()
    assert done["pull_request"] == {"number": 1, "url": known.url, "is_new": True}
    assert known.url.endswith("/1")

    # One that is open is that, whoever asks again.
    again = work(services.request_pull(hosted, "net", actor=author))
    assert again["pull_request"] == {"number": 1, "url": known.url, "is_new": False}
    assert PullRequest.objects.count() == 1
    forge.merge(1)
    assert forges.find_pull(forges.address_of(hosted), branch="net", into="main") is None


@pytest.mark.django_db
def test_what_a_forge_refuses_is_told_apart_and_the_commit_stays(
    pair: FakePair, hosted: Repository, forge: FakeForge, author: Any, work: Work
) -> None:
    work(commit(hosted, pair, author, ALL))
    edit(pair, "Revenue", slice_name="Net revenue")
    forge.refuses = 403, {"message": f"Resource not accessible by {TOKEN}"}
    done = work(commit(hosted, pair, author, [uuid_for("Revenue")], branch="net", pull_request=True))
    assert done["pull_request_error"]["code"] == "forge_forbidden"
    assert TOKEN not in str(done)
    assert done["branch"] == "net"
    hosted.refresh_from_db()
    assert hosted.branches["net"] == done["commit"]
    cases: list[tuple[tuple[int, Any], dict[str, str], str]] = [
        ((404, {"message": "Not Found"}), {}, "forge_not_found"),
        (forge.invalid("base"), {}, "forge_not_found" if forge.kind == "gitea" else "forge_refused"),
        ((403, {"message": "API rate limit exceeded"}), {"X-RateLimit-Remaining": "0"}, "forge_busy"),
        ((502, "bad gateway"), {}, "forge_unavailable"),
        ((302, {}), {"Location": "http://169.254.169.254/"}, "forge_unavailable"),
        ((201, ["not what is documented"]), {}, "forge_unavailable"),
    ]
    for refusal, headers, code in cases:
        forge.refuses, forge.headers = refusal, headers
        error = work(services.request_pull(hosted, "net", actor=author), fails=code)
        assert error["remedy"], error
    forge.refuses, forge.headers = None, {}
    Repository.objects.update(forge_secret="")
    Repository.objects.update(secret="another")  # what pushes is a token for the API, too
    hosted.refresh_from_db()
    assert work(services.request_pull(hosted, "net", actor=author), fails="forge_sign_in")["remedy"]
    assert PullRequest.objects.count() == 0


@pytest.mark.django_db
def test_a_plan_of_a_commit_is_told_to_its_forge_from_pending_to_its_end(
    pair: FakePair, hosted: Repository, forge: FakeForge, author: Any, release_lead: Any, work: Work, run_jobs: Any,
    settings: Any,
) -> None:  # fmt: skip
    settings.PUBLIC_URL = "https://ss.example"
    done = work(commit(hosted, pair, author, ALL))
    reading = services.find_reading("bi@main", author)
    sources.create_migration(reading, pair.target, actor=author)
    assert not Job.objects.filter(kind="git.status").exists()  # nobody wants it
    Repository.objects.update(statuses=True)

    def told() -> list[tuple[str, str]]:
        run_jobs()
        found = [(body["state"], body["description"]) for _, body in forge.statuses]
        forge.statuses.clear()
        return found

    migration = sources.create_migration(reading, pair.target, actor=release_lead)
    assert told() == [("pending", "Planning")]
    work(migrations.request_plan(migration, actor=release_lead))
    run_jobs()
    sha, body = forge.statuses[-1]
    failure = "failed" if forge.kind == "gitlab" else "failure"
    assert (sha, body["state"]) == (done["commit"], failure)  # no connection is mapped
    assert body["target_url"] == f"https://ss.example{migration.get_absolute_url()}"
    assert body["name" if forge.kind == "gitlab" else "context"] == "ss-tools/prod"
    told()
    connections = {uuid_for("Warehouse DEV"): uuid_for("Warehouse PROD")}
    migrations.save_mapping(None, pair.target, actor=release_lead, databases=connections)
    work(migrations.request_plan(migration, actor=release_lead))
    assert told() == [("success", "4 to create.")]
    migration.refresh_from_db()
    assert migration.plan is not None
    migrations.request_apply(migration, plan_hash=migration.plan.hash, actor=release_lead)
    assert told() == [("success", "Applied")]
    forge.refuses = 500, {}
    work(statuses.request_status(migration, actor=release_lead), fails="forge_unavailable")


def test_the_kind_and_the_address_of_the_api_are_guessed_and_a_key_is_no_token() -> None:
    known = {
        "https://github.com/team/bi.git": ("github", "https://api.github.com"),
        "ssh://git@github.com/team/bi.git": ("github", "https://api.github.com"),
        "https://github.corp.example:8443/team/bi": ("github", "https://github.corp.example:8443/api/v3"),
        "ssh://git@gitlab.corp.example:2222/a/b/bi.git": ("gitlab", "https://gitlab.corp.example/api/v4"),
        "https://codeberg.org/team/bi.git": ("gitea", "https://codeberg.org/api/v1"),
        "https://git.corp.example/team/bi.git": ("", ""),
        "file:///srv/bi.git": ("", ""),
    }
    for url, (kind, api) in known.items():
        assert (forges.guess(url), forges.api_of(kind, url)) == (kind, api), url
    with pytest.raises(SSToolsError) as refused:
        forges.address_of(Repository(name="x", url="ssh://git@gitlab.com/a/bi.git", secret="a private key"))
    assert refused.value.code == "forge_no_token"
    found = forges.address_of(Repository(url="https://gitlab.com/a/b/bi.git", secret="t"))
    assert found.project == "/projects/a%2Fb%2Fbi"
    assert plain("a [x](http://y) *b* #1\n- c") == "a \\[x\\]\\(http:\u200b//y\\) \\*b\\* \\#1 - c"


@pytest.mark.django_db
def test_a_token_for_the_api_goes_to_no_other_host(admin: Any) -> None:
    values = {"name": "Bi", "url": "https://git.example.org/t/bi.git", "forge": "gitea"}
    row = services.register_repository(values, actor=admin, secret="s", forge_secret="f")
    for changed in ({"forge_url": "https://evil.example/api/v1"}, {"url": "https://evil.example/t/bi.git"}):
        row.refresh_from_db()
        with pytest.raises(Invalid, match="another host"):
            services.update_repository(row, changed, actor=admin, secret="new" if "url" in changed else None)
    row.refresh_from_db()
    services.update_repository(
        row, {"forge_url": "https://api.example/api/v1/"}, actor=admin, forge_secret="g"
    )
    row.refresh_from_db()
    assert (row.forge_url, str(row.forge_secret)) == ("https://api.example/api/v1", "g")
    services.update_repository(row, {}, actor=admin, forge_secret="")
    row.refresh_from_db()
    with pytest.raises(
        Invalid
    ):  # the repository's own token goes to no host that it was not entered for, either
        services.update_repository(row, {"forge_url": "https://evil.example"}, actor=admin)
    with pytest.raises(Invalid) as wrong:
        services.update_repository(row, {"forge_url": "ftp://x"}, actor=admin, forge_secret="x")
    assert "forge_url" in wrong.value.errors
