"""Both directions: assets of an environment to a commit, a commit to an environment, with git itself looking on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from migrations_app import services as migrations
from migrations_app.comparing.places import read_place
from migrations_app.files import sources
from migrations_app.git import services
from migrations_app.git import work as git_work
from migrations_app.git.changes import changes_between, different
from migrations_app.git.models import CommitReading, Repository
from migrations_app.models import Migration
from migrations_app.release import gate
from migrations_app.release.models import Route
from sstools.errors import Conflict, Invalid, NotAllowed, NotFoundError
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .servers import commit_files, git

pytestmark = pytest.mark.django_db
Work = Callable[..., dict[str, Any]]
ALL = [uuid_for(name) for name in ("Sales", "Revenue", "Regions", "orders", "Warehouse DEV")]


def commit(repository: Repository, pair: FakePair, actor: Any, uuids: list[str], **more: Any) -> Job:
    repository.refresh_from_db()
    base = services.reading_of(repository, more.pop("at", "main"))
    message = more.pop("message", "What we have")
    return services.request_commit(
        repository, pair.source, uuids=uuids, message=message, actor=actor, base=base, **more
    )


def edit(pair: FakePair, name: str, **fields: Any) -> None:
    """Somebody edits a chart on dev, and dev is read."""
    record = pair.dev.record("chart", uuid_for(name))
    record["data"].update(fields)
    record["changed_on"] = pair.dev._now()
    pair.read(pair.source)


def states(repository: Repository, pair: FakePair, ref: str = "main") -> dict[str, str]:
    repository.refresh_from_db()
    found = changes_between(pair.source, services.reading_of(repository, ref))
    return {one.title: one.state for one in found}


def test_an_estate_is_committed_and_a_second_commit_of_it_is_none(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    author.first_name, author.email = "Ann", "ann@example.org"
    author.save()
    done = work(commit(repository, pair, author, ALL))
    assert git(folder, "rev-parse", "main") == done["commit"]
    assert (
        git(folder, "log", "--format=%an <%ae> %cn %s", "main")
        == "Ann <ann@example.org> ss-tools What we have"
    )
    files = git(folder, "ls-tree", "-r", "--name-only", "main").split("\n")
    sales = f"dashboards/sales_{uuid_for('Sales')[:8]}.yaml"
    assert len(files) == 7  # five assets, README and manifest
    assert sales in files
    assert f"uuid: {uuid_for('Revenue')}  # Revenue\n" in git(folder, "show", f"main:{sales}") + "\n"
    git(folder, "fsck", "--strict")
    assert set(states(repository, pair).values()) == {"same"}
    with pytest.raises(Invalid, match="Nothing of what is chosen differs"):
        commit(repository, pair, author, ALL)
    # Two readings of one state are the same bytes, in another repository too.
    tree = git(folder, "rev-parse", "main^{tree}")
    work(commit(repository, pair, author, ALL, branch="again", at="nowhere"))
    assert git(folder, "rev-parse", "again^{tree}") == tree


def test_a_commit_holds_what_was_chosen_and_nothing_else(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, [uuid_for("Sales")]))  # with all it stands on
    edit(pair, "Revenue", slice_name="Net revenue")
    edit(pair, "Regions", description="Where")
    assert {title for title, state in states(repository, pair).items() if state == "changed"} == {
        "Net revenue",
        "Regions",
    }
    done = work(
        commit(repository, pair, author, [uuid_for("Revenue")], branch="net", message="Net\n\nAs asked.")
    )
    changed = git(folder, "diff", "--name-status", "main", "net")
    assert changed == f"M\tcharts/revenue_{uuid_for('Revenue')[:8]}.yaml"  # its file keeps its name
    assert git(folder, "log", "-1", "--format=%b", "net") == "As asked."
    assert git(folder, "rev-parse", "net^") == git(folder, "rev-parse", "main")
    assert done["branch"] == "net"


def test_what_the_environment_no_longer_has_goes_only_where_it_is_named(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, ALL))
    del pair.dev.assets["chart"][pair.dev.id_of("chart", uuid_for("Regions"))]
    edit(pair, "Revenue", description="New")
    assert states(repository, pair)["Regions"] == "removed"
    path = f"charts/regions_{uuid_for('Regions')[:8]}.yaml"
    work(commit(repository, pair, author, [uuid_for("Revenue")]))
    assert path in git(folder, "ls-tree", "-r", "--name-only", "main")
    work(commit(repository, pair, author, [uuid_for("Regions")]))
    assert path not in git(folder, "ls-tree", "-r", "--name-only", "main")


def test_who_is_slower_is_told_what_was_pushed_meanwhile(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, [uuid_for("orders")]))
    job = commit(repository, pair, author, [uuid_for("Sales")])
    other = commit_files(folder, {"docs/notes.txt": "hello"}, "Notes of last week")
    error = work(job, fails="push_refused")
    assert "“Notes of last week” by Ann" in error["message"]
    assert error["detail"]["remote_commit"] == other
    assert git(folder, "rev-parse", "main") == other
    work(services.request_reading(repository, actor=author))
    work(commit(repository, pair, author, [uuid_for("Sales")]))
    assert git(folder, "show", "main:docs/notes.txt") == "hello"  # what else is there stays


def test_a_commit_that_was_pushed_when_its_worker_died_is_not_made_twice(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    job = commit(repository, pair, author, ALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(git_work, "keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        asked = {name: job.params[name] for name in ("branch", "base", "message", "assets")}
        with pytest.raises(KeyboardInterrupt):
            git_work.run_commit(cast(Any, _Quiet(job)), repository, pair.source, **asked)
    pushed = git(folder, "rev-parse", "main")
    assert work(job)["commit"] == pushed
    assert git(folder, "rev-list", "--count", "main") == "1"


class _Quiet:
    def __init__(self, job: Job) -> None:
        self.job = job

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_a_commit_is_deployed_like_any_source_and_cannot_change_under_a_plan(
    pair: FakePair, repository: Repository, folder: Path, admin: Any, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, ALL))
    reading = services.find_reading("bi@main", author)
    assert services.find_reading(f"bi@{reading.sha[:8]}", author) == reading
    Route.objects.create(name="Way", source=pair.source, target=pair.target)
    migration = sources.create_migration(
        reading, pair.target, actor=admin, databases={"Warehouse DEV": "Warehouse PROD"}
    )
    assert migration.source_place == f"git:bi@{reading.sha}"
    assert migration.source_name == f"bi@{reading.sha[:10]}"
    assert len(gate.routes_of(migration)) == 1  # nobody walks around a route by way of git
    commit_files(folder, {"charts/bad.yaml": "{"}, "Broken later")
    work(migrations.request_plan(migration, actor=admin))
    migration.refresh_from_db()
    assert migration.plan is not None
    assert {name: number for name, number in migration.plan.counts.items() if number} == {"create": 4}
    with pytest.raises(Conflict):
        services.remove_repository(repository, actor=admin)
    with pytest.raises(Conflict):
        services.update_repository(repository, {"folder": "elsewhere"}, actor=admin)
    run = migrations.request_apply(migration, plan_hash=migration.plan.hash, actor=admin)
    work(run if isinstance(run, Job) else run.job)
    pair.read(pair.target)
    assert set(pair.target.assets.values_list("title", flat=True)) >= {
        "Sales",
        "Revenue",
        "Regions",
        "orders",
    }
    # Nothing is left to do, from the same commit.
    again = sources.create_migration(reading, pair.target, actor=admin)
    work(migrations.request_plan(again, actor=admin))
    again.refresh_from_db()
    assert again.plan is not None
    assert again.plan.write_count == 0
    error = work(services.request_reading(repository, actor=admin), fails="tree_unreadable")
    assert "charts/bad.yaml" in error["message"]


def test_both_sides_are_compared_by_the_names_of_places(
    pair: FakePair, repository: Repository, author: Any, work: Work, signed_in: Any
) -> None:
    work(commit(repository, pair, author, ALL))
    place = read_place("git:bi@main", author)
    assert {one.title for one in place.assets.values()} >= {"Sales", "Revenue"}
    edit(pair, "Revenue", slice_name="Net revenue")
    page = signed_in(author).get("/compare/", {"left": "git:bi@main", "right": "env:dev"}).content.decode()
    assert "1 difference" in page
    assert "bi@" in page
    with pytest.raises(NotFoundError):
        read_place("git:bi@nowhere", author)
    with pytest.raises(NotFoundError):
        read_place("git:other@main", author)


HOSTILE = {
    "submodule": ("is a submodule", lambda folder: _entry(folder, "160000", "charts/sub.yaml")),
    "link": ("is a symbolic link", lambda folder: _entry(folder, "120000", "charts/link.yaml", b"/etc/passwd")),
    "link as folder": ("is a symbolic link", lambda folder: _entry(folder, "120000", "charts", b"/etc")),
    "bad YAML": ("not valid YAML", lambda folder: _entry(folder, "100644", "charts/x.yaml", b"a: [")),
    "bomb": ("YAML", lambda folder: _entry(folder, "100644", "charts/x.yaml", _bomb())),
    "object": ("not plain data", lambda folder: _entry(folder, "100644", "charts/x.yaml", b"a: !!python/name:os.x")),
    "other encoding": ("UTF-8", lambda folder: _entry(folder, "100644", "charts/x.yaml", b"a: \xff")),
}  # fmt: skip


def _bomb() -> bytes:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return ("a0: &a0 [x]\n" + "\n".join(levels)).encode()


def _entry(folder: Path, mode: str, path: str, content: bytes = b"") -> None:
    """A commit on main with such an entry in it, made as no git makes it."""
    if mode == "160000":
        sha = git(folder, "rev-parse", "main")
    else:
        sha = git(folder, "hash-object", "-w", "--stdin", content=content)
    index = str(folder / "hostile-index")
    git(folder, "read-tree", "main", index=index)
    git(
        folder, "rm", "-r", "-q", "--cached", "--ignore-unmatch", path, index=index, GIT_WORK_TREE=str(folder)
    )
    git(folder, "update-index", "--add", "--cacheinfo", f"{mode},{sha},{path}", index=index)
    tree = git(folder, "write-tree", index=index)
    made = git(folder, "commit-tree", tree, "-p", "main", "-m", "Hostile")
    git(folder, "update-ref", "refs/heads/main", made)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tree_is_refused_with_the_file_and_nothing_is_brought_or_committed(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work, name: str
) -> None:
    work(commit(repository, pair, author, ALL))
    word, spoil = HOSTILE[name]
    spoil(folder)
    error = work(services.request_reading(repository, actor=author), fails="tree_unreadable")
    assert word in error["message"]
    with pytest.raises(Invalid) as refused:
        sources.create_migration(services.find_reading("bi@main", author), pair.target, actor=author)
    assert refused.value.code == "tree_unreadable"
    with pytest.raises(Invalid):
        commit(repository, pair, author, ALL)
    assert Migration.objects.count() == 0
    assert git(folder, "log", "-1", "--format=%s", "main") == "Hostile"


def test_links_and_submodules_outside_of_the_folder_are_nobodys_business(
    pair: FakePair, repository: Repository, folder: Path, admin: Any, author: Any, work: Work
) -> None:
    commit_files(folder, {"code/x.py": "pass"}, "Code")
    _entry(folder, "160000", "vendor")
    services.update_repository(repository, {"folder": "superset/assets/"}, actor=admin)
    work(services.request_reading(repository, actor=author))
    work(commit(repository, pair, author, ALL))
    assert "superset/assets/README.md" in git(folder, "ls-tree", "-r", "--name-only", "main")
    assert "160000 commit" in git(folder, "ls-tree", "main", "vendor")
    assert set(states(repository, pair).values()) == {"same"}


def test_a_tree_of_another_tool_is_read_and_never_written_into(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    from environments.superset.archives import archive_files
    from tests.superset.helpers import client_of

    bundle = archive_files(client_of(pair.dev).export_assets().to_zip())
    commit_files(folder, {path.partition("/")[2]: content for path, content in bundle.items()})
    work(services.request_reading(repository, actor=author))
    assert states(repository, pair)["Revenue"] == "same"
    edit(pair, "Revenue", slice_name="Net revenue")
    work(commit(repository, pair, author, [uuid_for("Revenue")]), fails="folder_taken")


def test_what_is_entered_is_checked_and_a_secret_goes_to_no_other_host(
    admin: Any, author: Any, settings: Any
) -> None:
    with pytest.raises(NotAllowed):
        services.register_repository({"name": "x", "url": "https://git.example.org/x.git"}, actor=author)
    values = {"name": "Bi", "url": "git@git.example.org:team/bi.git"}
    row = services.register_repository(values, actor=admin)
    assert (row.url, row.slug) == ("ssh://git@git.example.org/team/bi.git", "bi")
    services.update_repository(row, {"url": "https://git.example.org/x.git"}, actor=admin, secret="token")
    with pytest.raises(Invalid, match="another host"):
        services.update_repository(row, {"url": "https://evil.example.org/x.git"}, actor=admin)
    row.refresh_from_db()
    assert row.url == "https://git.example.org/x.git"
    wrong = {
        "url": ["ext::sh", "https://me:pw@git.example.org/x", "https://git.example.org/", "file:///etc"],
        "url ": ["/etc", "ssh://-oProxy/x", "https://h/x?a"],
        "branch": ["-x", "a..b", ""],
        "folder": ["../x", "a//b", ".git", "a/.hidden"],
        "host_key": ["nonsense"],
        "author_email": ["nobody"],
        "author_name": ["a <b>"],
    }  # fmt: skip
    for name, texts in wrong.items():
        for text in texts:
            base = {"name": "y", "url": "ssh://git@git.example.org/y.git"}
            with pytest.raises(Invalid) as refused:
                services.register_repository({**base, name.strip(): text}, actor=admin)
            assert name.strip() in refused.value.errors, (name, text)
    assert Repository.objects.count() == 1


def test_readings_that_nothing_points_to_are_forgotten(
    pair: FakePair, repository: Repository, author: Any, work: Work, settings: Any
) -> None:
    work(commit(repository, pair, author, [uuid_for("orders")]))
    work(commit(repository, pair, author, [uuid_for("Sales")]))
    settings.UPLOAD_KEEP_DAYS = 0
    assert CommitReading.objects.count() == 2
    assert services.forget_readings() == 1
    repository.refresh_from_db()
    assert CommitReading.objects.get().sha == repository.branches["main"]
    assert different(changes_between(pair.source, CommitReading.objects.get())) == []
