"""Two people commit to one branch: what only one changed is nobody's question, the rest is chosen field by field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environments.canonical.documents import Document, Kind
from migrations_app.engine.merging import Side, merge
from migrations_app.git import conflicts
from migrations_app.git.models import Repository
from sstools.errors import Invalid, NotFoundError
from sstools.jobs.models import Job
from tests.canonical.builders import uid
from tests.factories import uuid_for
from tests.fakes.pair import FakePair

from .servers import commit_files, git
from .test_services import ALL, commit, edit

Work = Callable[..., dict[str, Any]]


def chart(**body: Any) -> Document:
    params = {"metric": "count", "row_limit": 10, "filters": [], **body.pop("params", {})}
    return Document(
        Kind.CHART, uid("c", 1), {"slice_name": "A", "viz_type": "table", "params": params, **body}
    )


def test_what_one_side_changed_comes_from_it_and_what_both_changed_is_asked() -> None:
    base = chart(query_context={"of": "base"})
    mine = chart(slice_name="Mine", params={"row_limit": 20}, query_context={"of": "mine"})
    theirs = chart(
        slice_name="Theirs", description="New", params={"metric": "sum"}, query_context={"of": "theirs"}
    )
    merged = merge(base, mine, theirs)
    assert [(clash.path, clash.base, clash.mine, clash.theirs) for clash in merged.clashes] == [
        (("slice_name",), "A", "Mine", "Theirs")
    ]
    assert (merged.from_mine, merged.from_theirs) == (1, 2)
    chosen = merge(base, mine, theirs, {("slice_name",): Side.THEIRS}).document.body
    assert (chosen["slice_name"], chosen["description"]) == ("Theirs", "New")
    assert chosen["params"] == {"metric": "sum", "row_limit": 20, "filters": []}
    assert chosen["query_context"] is None  # neither of them asks for that
    # One side took away what the other one changed; and neither began with anything.
    gone = merge(base, base.replace(params={"metric": "count"}), chart(params={"row_limit": 5}))
    assert [(clash.path, clash.mine, clash.theirs) for clash in gone.clashes] == [
        (("params", "row_limit"), None, 5)
    ]
    assert {clash.path for clash in merge(None, mine, theirs).clashes} == {
        ("slice_name",), ("params", "metric"), ("params", "row_limit"),
    }  # fmt: skip
    assert merge(base, mine, mine).clashes == merge(base, base, mine).clashes == ()
    assert merge(base, base, mine).document.body == mine.body


def test_lists_are_put_together_by_the_names_of_their_items_and_layouts_stay_whole() -> None:
    def dataset(*columns: tuple[str, str]) -> Document:
        rows = [{"column_name": name, "type": kind} for name, kind in columns]
        return Document(Kind.DATASET, uid("d", 1), {"table_name": "t", "columns": rows, "metrics": []})

    base = dataset(("a", "INT"), ("b", "INT"), ("c", "INT"))
    mine = dataset(("a", "TEXT"), ("c", "INT"), ("mine", "INT"))
    merged = merge(base, mine, dataset(("a", "DATE"), ("b", "INT"), ("c", "TEXT"), ("x", "INT")))
    assert [clash.path for clash in merged.clashes] == [("columns", "a", "type")]
    found = {row["column_name"]: row["type"] for row in merged.document.body["columns"]}
    assert found == {"a": "TEXT", "c": "TEXT", "mine": "INT", "x": "INT"}

    def board(**position: Any) -> Document:
        return Document(
            Kind.DASHBOARD, uid("b", 1), {"dashboard_title": "B", "position": position, "metadata": {}}
        )

    layouts = merge(board(R=1), board(R=1, M=2), board(R=1, T=3))
    assert [clash.path for clash in layouts.clashes] == [("position",)]
    assert layouts.document.body["position"] == {"R": 1, "M": 2}


def pushed_by_another(
    folder: Path, replaced: dict[str, list[tuple[str, str]]], message: str = "Reviewed"
) -> str:
    """A commit of somebody else: in the files of these assets (by title) one text for another."""
    files = {}
    for path in git(folder, "ls-tree", "-r", "--name-only", "main").splitlines():
        for title, pairs in replaced.items():
            if uuid_for(title)[:8] in path and path.endswith(".yaml"):
                text = git(folder, "show", f"main:{path}") + "\n"
                for old, new in pairs:
                    assert old in text, text
                    text = text.replace(old, new)
                files[path] = text
    return commit_files(folder, files, message)


@pytest.fixture
def refused(pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work) -> Job:
    """Revenue renamed on both sides, described by us, cached for an hour by them; Regions only here, orders there."""
    work(commit(repository, pair, author, ALL))
    edit(pair, "Revenue", slice_name="Net revenue", description="Ours")
    edit(pair, "Regions", description="Where")
    job = commit(repository, pair, author, [uuid_for("Revenue"), uuid_for("Regions")], message="Ours")
    pushed_by_another(
        folder,
        {
            "Revenue": [
                ("slice_name: Revenue\n", "slice_name: Gross revenue\n"),
                ("cache_timeout: null", "cache_timeout: 3600"),
            ],
            "Sales": [("dashboard_title: Sales\n", "dashboard_title: Sales 2026\n")],
        },
    )
    assert work(job, fails="push_refused")["detail"]["branch"] == "main"
    return job


@pytest.mark.django_db
def test_a_refused_commit_is_settled_field_by_field_on_its_page(
    refused: Job, repository: Repository, folder: Path, author: Any, viewer: Any, signed_in: Any, work: Work
) -> None:
    client = signed_in(author)
    there = f"/git/bi/conflicts/{refused.uuid}/"
    assert there in client.get(f"/jobs/{refused.uuid}/").content.decode()
    theirs = git(folder, "rev-parse", "main")
    page = client.get(there).content.decode()
    for words in (
        "Reviewed",
        "Ann",
        theirs[:10],
        "Net revenue",
        "Gross revenue",
        "1 asset that nobody else changed",
    ):
        assert words in page, words
    assert "Regions" not in page
    uuid = uuid_for("Revenue")
    wish = {"remote": theirs, "message": "Both", f"choose:{uuid}": "fields"}
    unanswered = client.post(there, wish)
    assert (unanswered.status_code, "Choose mine or theirs: slice_name" in unanswered.content.decode()) == (
        422,
        True,
    )
    stale = client.post(there, wish | {"remote": "0" * 40})
    assert (stale.status_code, "moved on once more" in stale.content.decode()) == (422, True)
    assert git(folder, "rev-parse", "main") == theirs
    done = client.post(there, wish | {f"field:{uuid}:slice_name": "theirs"})
    work(Job.objects.get(uuid=done.headers["Location"].rstrip("/")[-36:]))
    assert git(folder, "log", "--format=%s|%an", "main").splitlines()[:2] == ["Both|author", "Reviewed|Ann"]
    file = git(folder, "show", f"main:charts/revenue_{uuid[:8]}.yaml")
    for line in ("slice_name: Gross revenue", "description: Ours", "cache_timeout: 3600"):
        assert f"\n{line}" in file, file
    assert "dashboard_title: Sales 2026" in git(
        folder, "show", f"main:dashboards/sales_{uuid_for('Sales')[:8]}.yaml"
    )
    assert "Where" in git(folder, "show", f"main:charts/regions_{uuid_for('Regions')[:8]}.yaml")
    assert signed_in(viewer).get(there).status_code == 404


@pytest.mark.django_db
def test_by_rest_and_as_a_whole(
    refused: Job, repository: Repository, folder: Path, author: Any, admin: Any, api: Any, work: Work
) -> None:
    client = api(author)
    there = f"/api/v1/repositories/{repository.uuid}/conflicts/{refused.uuid}/"
    told = client.get(there).json()
    uuid = uuid_for("Revenue")
    assert told["remote"]["subject"] == "Reviewed"
    assert [(one["uuid"], one["mine"], one["theirs"]) for one in told["conflicts"]] == [
        (uuid, "changed", "changed")
    ]
    assert told["conflicts"][0]["fields"] == [
        {"key": "slice_name", "base": "Revenue", "mine": "Net revenue", "theirs": "Gross revenue"}
    ]
    assert (told["conflicts"][0]["from_mine"], told["conflicts"][0]["from_theirs"], told["untouched"]) == (
        1,
        1,
        1,
    )
    body = {"remote": told["remote"]["sha"], "choices": {uuid: {"": "mine"}}}
    wrong = client.post(there, {**body, "choices": {uuid: {"slice_name": "both"}}}, format="json")
    assert wrong.status_code == 400
    assert client.post(there, {**body, "choices": {}}, format="json").json()["code"] == "choice_needed"
    answer = client.post(there, body, format="json")
    assert answer.status_code == 202, answer.content
    work(Job.objects.get(uuid=answer.json()["uuid"]))
    file = git(folder, "show", f"main:charts/revenue_{uuid[:8]}.yaml")
    assert ("slice_name: Net revenue" in file, "cache_timeout: 3600" in file) == (True, False)
    other = client.get(f"/api/v1/repositories/{repository.uuid}/conflicts/{answer.json()['uuid']}/")
    assert other.status_code == 404  # that one was not refused


@pytest.mark.django_db
def test_what_one_side_removed_is_chosen_as_a_whole(
    pair: FakePair, repository: Repository, folder: Path, author: Any, work: Work
) -> None:
    work(commit(repository, pair, author, ALL))
    uuid = uuid_for("Regions")
    del pair.dev.assets["chart"][pair.dev.id_of("chart", uuid)]
    edit(pair, "Revenue", description="New")
    job = commit(repository, pair, author, [uuid])
    theirs = pushed_by_another(folder, {"Regions": [("slice_name: Regions\n", "slice_name: Places\n")]})
    work(job, fails="push_refused")
    repository.refresh_from_db()
    found = conflicts.find_refused(repository, job.uuid, author)
    assert [(one.mine, one.theirs, one.fields) for one in found.conflicts] == [("removed", "changed", ())]
    with pytest.raises(Invalid) as open_choice:
        conflicts.settle(found, {}, actor=author, remote=theirs)
    assert open_choice.value.code == "choice_needed"
    with pytest.raises(Invalid) as nothing:
        conflicts.settle(found, {uuid: {"": "theirs"}}, actor=author, remote=theirs)
    assert nothing.value.code == "empty_selection"
    work(conflicts.settle(found, {uuid: {"": "mine"}}, actor=author, remote=theirs))
    assert "regions" not in git(folder, "ls-tree", "-r", "--name-only", "main")
    with pytest.raises(NotFoundError):
        conflicts.find_refused(repository, "0" * 8 + "-0000-4000-8000-" + "0" * 12, author)
