"""`python -m tests.bench.git [--files 10000] [--rounds 2]`: a tree of 10,000 files committed and read, next to git.

Superset's examples, again and again under other uuids. The repository is behind git over HTTP with a password on this
machine. git itself adds, commits and pushes the same tree from a folder, and clones its newest commit into one; it
knows nothing of what is in files. ss-tools works out what differs, writes the files, pushes, and reads them again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .measuring import processor_ms, say, table

GOALS = {"first commit": 60.0, "reading": 60.0, "commit of 1 %": 60.0}  # seconds of processor time
PASSWORD = "bench"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Timing = tuple[float, float]  # seconds by the clock, seconds computed by this process


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.git", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--section", type=Path, help="write the section of the page of benchmarks here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ss-tools-git-") as folder:
        _set_up(Path(folder))
        found, files, size = _measure(Path(folder), options.files, options.rounds)
    text = _section(found, files, size)
    say(text)
    if options.section:
        options.section.write_text(text)


def _set_up(folder: Path) -> None:
    os.environ["SSTOOLS_TEST_DATA"] = str(folder / "data")
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    (folder / "data").mkdir()
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]
    call_command("migrate", verbosity=0)


def _timed(call: Callable[[], Any]) -> tuple[Timing, Any]:
    clock, computed = time.perf_counter(), processor_ms()
    result = call()
    return (time.perf_counter() - clock, (processor_ms() - computed) / 1000), result


def _measure(folder: Path, files: int, rounds: int) -> tuple[dict[str, list[Timing]], int, int]:
    from django.contrib.auth import get_user_model

    from tests.factories import make_environment
    from tests.git.servers import git, http_server

    admin = get_user_model().objects.create_superuser("bench", password="a long password 1")
    environment = make_environment("dev")
    documents = _fill(environment, files)
    found: dict[str, list[Timing]] = {}

    def note(name: str, timing: Timing) -> None:
        found.setdefault(name, []).append(timing)
        say(f"{name}: {timing[0]:.1f} s, computed {timing[1]:.1f} s")

    with http_server(folder / "root", "bench", PASSWORD) as address:
        for number in range(rounds):
            ours = _Ours(folder / "root", address, f"ours{number}", admin, environment)
            timing, _ = _timed(ours.commit)
            note("first commit", timing)
            # Read as by an ss-tools that has never seen any of it: nothing of this commit is kept.
            timing, _ = _timed(ours.read_anew)
            note("reading", timing)
            _edit(environment, documents, number)
            timing, _ = _timed(ours.commit)
            note("commit of 1 %", timing)
            tree = folder / "tree"
            git(folder, "clone", "-q", "--bare", str(ours.bare), str(folder / "copy.git"))
            git(folder, "clone", "-q", str(folder / "copy.git"), str(tree))
            size = sum(
                path.stat().st_size for path in tree.rglob("*") if path.is_file() and ".git/" not in str(path)
            )
            count = len(git(tree, "ls-files").splitlines())
            plain = _Plain(folder, address, f"plain{number}", tree)
            for name, call in plain.steps.items():
                timing, _ = _timed(call)
                note(name, timing)
            for one in ("copy.git", "tree", "clone"):
                shutil.rmtree(folder / one)
    return found, count, size


def _fill(environment: Any, files: int) -> dict[str, Any]:
    """So many copies of the examples that they are `files` files, as an environment that was read. Its documents."""
    from django.utils import timezone

    from environments.canonical.comparison import comparison_fingerprint
    from environments.canonical.documents import Document
    from environments.models import Asset
    from environments.store import put_documents
    from tests.git.test_tree import examples, tree_of

    first = list(examples().values())
    copies = -(-files // len(tree_of(first)))
    documents: dict[str, Any] = {}
    for number in range(copies):
        for one in first:
            renamed = partial(_renamed, number)
            made = Document.from_json(json.loads(_UUID.sub(renamed, json.dumps(one.to_json()))))
            documents[made.uuid] = made
    put_documents(documents.values())
    Asset.objects.bulk_create(
        [
            Asset(
                environment=environment,
                kind=one.kind.value,
                uuid=one.uuid,
                superset_id=number,
                title=one.title,
                last_seen_at=timezone.now(),
                document_id=one.fingerprint,
                comparable=comparison_fingerprint(one),
                sort_key=one.title.casefold()[:200],
            )
            for number, one in enumerate(documents.values(), start=1)
        ],
        batch_size=1000,
    )
    say(f"{len(documents):,} assets.")
    return documents


def _renamed(number: int, match: re.Match[str]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{number}/{match[0]}")) if number else match[0]


def _edit(environment: Any, documents: dict[str, Any], number: int) -> None:
    """Somebody gives 1 % of the charts another description."""
    from environments.canonical.comparison import comparison_fingerprint
    from environments.models import Asset
    from environments.store import put_documents

    charts = [one for one in documents.values() if one.kind == "chart"]
    for one in charts[::100]:
        edited = one.replace(description=f"Edited in round {number}")
        put_documents([edited])
        Asset.objects.filter(environment=environment, uuid=one.uuid).update(
            document_id=edited.fingerprint, comparable=comparison_fingerprint(edited)
        )


class _Ours:
    def __init__(self, root: Path, address: str, name: str, admin: Any, environment: Any) -> None:
        from migrations_app.git import services
        from tests.git.servers import bare

        self.bare = bare(root / f"{name}.git")
        self.admin, self.environment, self.slug = admin, environment, name
        values = {"name": name, "slug": name, "url": f"{address}/{name}.git", "username": "bench"}
        services.register_repository(values, secret=PASSWORD, actor=admin)
        self._do(services.request_check(self.row, actor=admin))

    @property
    def row(self) -> Any:
        from migrations_app.git.models import Repository

        return Repository.objects.get(slug=self.slug)

    def _do(self, job: Any) -> dict[str, Any]:
        from sstools.jobs.runner import run_job

        run_job(str(job.uuid))
        job.refresh_from_db()
        if job.state != "succeeded":
            raise SystemExit(f"{job.title}: {job.error}")
        return dict(job.result)

    def commit(self) -> dict[str, Any]:
        from migrations_app.git import services
        from migrations_app.git.changes import changes_between, different

        base = services.reading_of(self.row, "main")
        uuids = [one.uuid for one in different(changes_between(self.environment, base))]
        return self._do(
            services.request_commit(
                self.row, self.environment, uuids=uuids, message="All", base=base, actor=self.admin
            )
        )

    def read_anew(self) -> dict[str, Any]:
        from migrations_app.git import services

        self.row.readings.all().delete()
        return self._do(services.request_reading(self.row, actor=self.admin))


class _Plain:
    """git in a folder, with the same tree and the same server."""

    def __init__(self, folder: Path, address: str, name: str, tree: Path) -> None:
        from tests.git.servers import bare

        bare(folder / "root" / f"{name}.git")
        self.folder, self.tree = folder, tree
        self.url = f"{address.replace('://', f'://bench:{PASSWORD}@')}/{name}.git"
        self.steps = {"git add, commit, push": self.commit, "git clone --depth 1": self.clone}

    def commit(self) -> None:
        from tests.git.servers import git

        shutil.rmtree(self.tree / ".git")
        git(self.tree, "init", "-q", "-b", "main")
        git(self.tree, "add", "-A")
        git(self.tree, "commit", "-q", "-m", "All")
        git(self.tree, "push", "-q", self.url, "main")

    def clone(self) -> None:
        from tests.git.servers import git

        git(self.folder, "clone", "-q", "--depth", "1", self.url, str(self.folder / "clone"))


def _section(found: dict[str, list[Timing]], files: int, size: int) -> str:
    best = {name: min(timings, key=lambda one: one[1] or one[0]) for name, timings in found.items()}
    names = {
        "first commit": "ss-tools: first commit of everything, pushed and read back",
        "git add, commit, push": "git: add, commit, push of the same",
        "reading": "ss-tools: reading a commit, every file proven",
        "git clone --depth 1": "git: clone --depth 1",
        "commit of 1 %": "ss-tools: what differs, and a commit of 1 % of the charts",
    }
    rows = []
    for name, words in names.items():
        clock, computed = best[name]
        ours = "–" if name.startswith("git ") else f"{computed:.1f}"
        rows.append((words, f"{clock:.1f}", ours))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    goals = [
        f"- {name}: {best[name][1]:.1f} s of processor time (goal {goal:.0f} s) "
        f"{'met' if best[name][1] <= goal else 'MISSED'}"
        for name, goal in GOALS.items()
    ]
    goals.append(f"- peak memory, with the assets that are made for it: {peak:.0f} MiB")
    return f"""## Git, {files:,} files

{files:,} files, {size / 2**20:.0f} MB: Superset's examples again and again under other uuids, on a server of git over
HTTP on this machine; the best of {len(found["reading"])} rounds. git moves bytes. ss-tools parses every YAML file,
brings it into canonical form and keeps it in the store, so that it can be compared and deployed.

{table(("", "clock s", "computed s"), rows)}

{chr(10).join(goals)}
"""


if __name__ == "__main__":
    main()
