"""What else a repository may hold, or do, against who reads it: refused or handled; nothing is run, nothing touched
beside it. Links, submodules and bad YAML are in test_services.py, packs that explode in test_remotes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environments.store import get_documents
from migrations_app import services as migrations
from migrations_app.files import sources
from migrations_app.git import remotes, services
from migrations_app.git.models import CommitReading, Repository
from sstools.errors import Invalid
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .servers import commit_files, git
from .test_services import ALL, _entry, commit, edit, states

pytestmark = pytest.mark.django_db
Work = Callable[..., dict[str, Any]]
JINJA = "{{ url_param('x') }} {% import os %} {{ 7 * 7 }} ${HOME} $(id)"


def on_main(folder: Path, tree: str, message: str = "Hostile", parent: str = "main") -> str:
    """main points to a commit of this tree; without a parent it is another history."""
    parents = ["-p", parent] if parent else []
    made = git(folder, "commit-tree", tree, *parents, "-m", message)
    git(folder, "update-ref", "refs/heads/main", made)
    return made


def tree_with(folder: Path, kind: str, entries: bytes) -> str:
    """The tree of main in which the folder `kind` has these entries."""
    below = git(folder, "mktree", content=entries)
    kept = [line for line in git(folder, "ls-tree", "main").splitlines() if not line.endswith(f"\t{kind}")]
    return git(folder, "mktree", content="\n".join([*kept, f"040000 tree {below}\t{kind}", ""]).encode())


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_filters_attributes_hooks_and_settings_of_a_repository_are_not_looked_at(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work, tmp_path: Path
) -> None:
    work(commit(repository, pair, author, ALL))
    marker = tmp_path / "was-run"
    attributes = b"* filter=evil text eol=crlf ident working-tree-encoding=UTF-16 export-subst\n"
    _entry(folder, "100644", "charts/.gitattributes", attributes)
    for name in (
        "filter.evil.smudge",
        "filter.evil.clean",
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
    ):
        git(folder, "config", name, f"touch {marker}")
    git(folder, "config", "core.hooksPath", str(folder / "hooks"))
    for name in (
        "post-checkout",
        "post-update",
        "pre-receive",
        "post-receive",
        "update",
        "reference-transaction",
    ):
        (folder / "hooks" / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (folder / "hooks" / name).chmod(0o755)
    before = files_of(folder)
    work(services.request_reading(repository, actor=author))
    assert set(states(repository, pair).values()) == {"same"}
    assert files_of(folder) == before
    edit(pair, "Revenue", description="New")
    work(commit(repository, pair, author, [uuid_for("Revenue")]))
    assert not marker.exists()
    text = git(folder, "cat-file", "blob", f"main:charts/revenue_{uuid_for('Revenue')[:8]}.yaml")
    assert "\r" not in text


def test_templates_in_texts_stay_texts_both_ways(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    edit(pair, "Revenue", description=JINJA)
    work(commit(repository, pair, author, ALL))
    path = f"charts/revenue_{uuid_for('Revenue')[:8]}.yaml"
    text = git(folder, "show", f"main:{path}") + "\n"
    assert JINJA in text
    commit_files(folder, {path: text.replace("7 * 7", "8 * 8")})
    work(services.request_reading(repository, actor=author))
    repository.refresh_from_db()
    reading = services.find_reading("bi@main", author)
    row = reading.assets.get(uuid=uuid_for("Revenue"))
    (document,) = get_documents([row.document_id]).values()
    assert document.body["description"] == JINJA.replace("7 * 7", "8 * 8")


def test_a_file_of_17_mib_and_100_000_files_are_refused_and_nothing_is_kept(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, ALL))
    first = git(folder, "rev-parse", "main")
    blob = git(folder, "hash-object", "-w", "--stdin", content=bytes(17 * 2**20))
    on_main(folder, tree_with(folder, "charts", f"100644 blob {blob}\thuge.yaml\n".encode()))
    error = work(services.request_reading(repository, actor=author), fails="repository_too_large")
    assert "huge.yaml" in error["message"]
    git(folder, "update-ref", "refs/heads/main", first)
    small = git(folder, "hash-object", "-w", "--stdin", content=b"a: 1\n")
    lines = "".join(f"100644 blob {small}\tc{number:06}.yaml\n" for number in range(100_000))
    on_main(folder, tree_with(folder, "charts", lines.encode()))
    error = work(services.request_reading(repository, actor=author), fails="repository_too_large")
    assert "60,000 files" in error["message"]
    assert error["remedy"]
    assert CommitReading.objects.count() == 1


def test_refs_that_look_like_options_are_shown_and_never_used(
    pair: FakePair, repository: Repository, folder: Path, author: Any, admin: Any, work: Work, signed_in: Any
) -> None:
    work(commit(repository, pair, author, ALL))
    for name in ("--upload-pack=touch", "-x"):
        git(folder, "update-ref", f"refs/heads/{name}", "main")
    assert work(services.request_check(repository, actor=author))["branches"] == 3
    assert "--upload-pack=touch" in signed_in(admin).get("/git/bi/").content.decode()
    for ref in ("--upload-pack=touch", "-x"):
        with pytest.raises(Invalid) as refused:
            services.request_reading(repository, ref, actor=author)
        assert refused.value.code == "branch_name"
        edit(pair, "Revenue", description=ref)
        with pytest.raises(Invalid):
            commit(repository, pair, author, [uuid_for("Revenue")], branch=ref)


def test_a_force_push_changes_no_plan_and_loses_no_commit_of_others(
    pair: FakePair, repository: Repository, folder: Path, admin: Any, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, ALL))
    reading = services.find_reading("bi@main", author)
    migration = sources.create_migration(
        reading, pair.target, actor=admin, databases={"Warehouse DEV": "Warehouse PROD"}
    )
    work(migrations.request_plan(migration, actor=admin))
    edit(pair, "Revenue", description="Ours")
    job = commit(repository, pair, author, [uuid_for("Revenue")])
    onto_another = commit(repository, pair, author, [uuid_for("Revenue")], branch="another")
    empty = git(folder, "mktree", content=b"")
    forced = on_main(folder, empty, "Another history", parent="")
    # The plan stands on what was read, whatever the branch says by now.
    migration.refresh_from_db()
    assert migration.plan is not None
    run = migrations.request_apply(migration, plan_hash=migration.plan.hash, actor=admin)
    work(run if isinstance(run, Job) else run.job)
    pair.read(pair.target)
    assert "Revenue" in pair.target.assets.values_list("title", flat=True)
    # Nothing is written over the other history, and no commit begins at one that nobody has any more.
    assert work(job, fails="push_refused")["detail"]["remote_commit"] == forced
    assert "No branch points to" in work(onto_another, fails="no_such_ref")["message"]
    assert git(folder, "rev-parse", "main") == forced


def test_a_force_push_between_looking_and_pushing_is_noticed(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work, monkeypatch: Any
) -> None:
    work(commit(repository, pair, author, ALL))
    edit(pair, "Revenue", description="Ours")
    job = commit(repository, pair, author, [uuid_for("Revenue")])
    forced: list[str] = []
    push = remotes.push

    def late(*words: Any, **more: Any) -> None:
        forced.append(on_main(folder, git(folder, "rev-parse", "main^{tree}"), "Rewritten", parent=""))
        push(*words, **more)

    monkeypatch.setattr(remotes, "push", late)
    error = work(job, fails="push_refused")
    assert "“Rewritten”" in error["message"]
    assert [git(folder, "rev-parse", "main")] == forced
