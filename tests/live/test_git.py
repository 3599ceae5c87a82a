"""Git on real Supersets 6.1.0: an estate goes over HTTPS to a git server and from there into an empty instance, two
environments on two branches differ in what differs, and what a reviewer changes over SSH arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.models import Environment
from migrations_app import services as migrations
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget, in_target_terms
from migrations_app.files import sources
from migrations_app.git import services
from migrations_app.git.changes import changes_between, different
from migrations_app.git.models import CommitReading, Repository
from migrations_app.models import Run
from sstools.errors import Invalid
from tests.git.servers import bare, commit_files, git, http_server, ssh_server
from tests.git.test_remotes import new_key
from tests.live.product import Product, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

TOKEN = "glpat-tokenTOKENtoken"


@dataclass
class Servers:
    folder: Path
    https: dict[str, str]
    ssh: dict[str, str]


@pytest.fixture
def servers(tmp_path: Path, settings: Any) -> Iterator[Servers]:
    """One repository, at the address of an HTTPS server with a password and of an SSH server with a key."""
    folder = bare(tmp_path / "root" / "bi.git")
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    settings.OUTBOUND_CA_BUNDLE, settings.OUTBOUND_ALLOW = str(bundle), ["127.0.0.1/32"]
    mine, client_key = new_key()
    _, host_key = new_key()
    with (
        http_server(folder.parent, "bot", TOKEN, authority=authority) as https,
        ssh_server(folder.parent, host_key, client_key) as ssh,
    ):
        yield Servers(
            folder,
            {"name": "BI", "slug": "bi", "url": f"{https}/bi.git", "username": "bot", "secret": TOKEN},
            {
                "name": "BI over SSH",
                "slug": "ssh",
                "url": f"{ssh}/bi.git",
                "secret": mine,
                "host_key": f"{host_key.get_name()} {host_key.get_base64()}",
            },
        )


class Git:
    """A repository and what people do with it."""

    def __init__(self, product: Product, values: dict[str, str]) -> None:
        self.product = product
        values = dict(values)
        self.row = services.register_repository(values, secret=values.pop("secret"), actor=product.admin)
        assert self.do(services.request_check(self.row, actor=product.admin))["can_push"]

    def do(self, job: Any) -> dict[str, Any]:
        return dict(self.product.do(job).result or {})

    def at(self, ref: str) -> CommitReading:
        """What is read of a branch, as it is on the server now."""
        self.do(services.request_reading(self.row, ref, actor=self.product.admin))
        self.row = Repository.objects.get(pk=self.row.pk)
        return services.find_reading(f"{self.row.slug}@{ref}", self.product.admin)

    def commit_all(
        self, environment: Environment, branch: str, base: CommitReading | None = None
    ) -> dict[str, Any]:
        uuids = [one.uuid for one in different(changes_between(environment, base))]
        return self.do(
            services.request_commit(
                self.row, environment, uuids=uuids, message=f"All of {environment.name}", branch=branch,
                base=base, actor=self.product.admin,
            )
        )  # fmt: skip

    def deploy(
        self, reading: CommitReading, target: Environment, take: tuple[str, ...] = (), **fields: Any
    ) -> Run:
        """`take`: assets that were edited on the target, where git's word goes."""
        migration = sources.create_migration(reading, target, actor=self.product.admin, **fields)
        self.product.do(migrations.request_plan(migration, actor=self.product.admin))
        if take:
            self.product.answer(migration, dict.fromkeys(take, "take"))
        run = self.product.apply(migration)
        assert run.state == "applied", run.error
        return run


def test_an_estate_goes_by_way_of_git_into_an_empty_instance_and_a_reviewers_change_follows(
    product: Product,
    dev: RunningSuperset,
    fresh_target: Callable[..., RunningSuperset],
    rest: Callable[..., Rest],
    servers: Servers,
) -> None:
    superset = fresh_target()
    source, target = product.register("dev", dev), product.register("prod", superset)
    repository = Git(product, servers.https)

    # Everything of dev over HTTPS.
    done = repository.commit_all(source, "main")
    assert git(servers.folder, "rev-parse", "main") == done["commit"]
    git(servers.folder, "fsck", "--strict")
    assert TOKEN not in git(servers.folder, "show", "main")
    main = repository.at("main")
    assert sum(main.counts.values()) == source.assets.count() >= 134
    assert different(changes_between(source, main)) == []

    # Committed once more: nothing, and no commit, also where dev is read anew from Superset.
    product.refresh(source)
    with pytest.raises(Invalid, match="Nothing is chosen"):
        repository.commit_all(source, "main", main)
    assert git(servers.folder, "rev-list", "--count", "main") == "1"

    # From git into the instance that has nothing but a connection.
    run = repository.deploy(main, target, databases={"examples": "Warehouse PROD"})
    there, here = product.read(target), product.read(source)
    (connection,) = (item for item in there.documents.values() if item.kind == Kind.DATABASE)
    (example,) = (item for item in here.documents.values() if item.kind == Kind.DATABASE)
    mapping = AssetMapping({example.uuid: DatabaseTarget(connection.uuid)})
    wanted = {
        uuid: comparison_fingerprint(in_target_terms(document, mapping))
        for uuid, document in here.documents.items()
        if document.kind != Kind.DATABASE
    }
    assert {uuid: comparison_fingerprint(there.documents[uuid]) for uuid in wanted} == wanted
    verdicts = {one.title: (one.status, one.reason) for one in run.verdicts.all()}
    assert len(verdicts) == 103
    # One example filters by a column that its dataset has not, on dev as well; a file cannot be asked for that.
    odd = {title for title, (status, _) in verdicts.items() if status in ("differs", "failed")}
    assert odd == {"Deck.gl Polygons"}, verdicts
    assert "no such column" in verdicts["Deck.gl Polygons"][1]
    assert sum(status == "ok" for status, _ in verdicts.values()) >= 90, verdicts

    # Both environments on branches: what differs is what differs, in git's own words.
    product.refresh(target)
    chart = target.assets.get(kind="chart", title="Genders by State")
    rest(superset).call("PUT", f"/api/v1/chart/{chart.superset_id}", {"slice_name": "By state"})
    product.refresh(target)
    repository.commit_all(target, "prod", main)
    changed = git(servers.folder, "diff", "--no-renames", "--name-status", "main", "prod").splitlines()
    assert sorted(line for line in changed if "\tdatasets/" not in line) == [
        f"A\tdatabases/warehouse_prod_{connection.uuid[:8]}.yaml",
        f"D\tdatabases/examples_{example.uuid[:8]}.yaml",
        f"M\tcharts/genders_by_state_{chart.uuid[:8]}.yaml",
    ]
    words = ["diff", "-U0", "main", "prod", "--", "datasets", "charts"]
    lines = {
        line.strip()
        for line in git(servers.folder, *words).splitlines()
        if line[0] in "+-" and line[:3] not in ("+++", "---")
    }
    assert lines == {
        f"-database_uuid: {example.uuid}  # examples",
        f"+database_uuid: {connection.uuid}  # Warehouse PROD",
        "-slice_name: Genders by State",
        "+slice_name: By state",
    }

    # Over SSH: the edit on a branch of its own, what a reviewer makes of it there, and that into the instance.
    ssh = Git(product, servers.ssh)
    prod = ssh.at("prod")
    rest(superset).call("PUT", f"/api/v1/chart/{chart.superset_id}", {"description": "Of births"})
    product.refresh(target)
    pushed = ssh.commit_all(target, "describe", prod)
    assert git(servers.folder, "diff", "--name-only", "prod", "describe").count("\n") == 0
    assert git(servers.folder, "rev-parse", "describe") == pushed["commit"]
    path = f"charts/genders_by_state_{chart.uuid[:8]}.yaml"
    file = git(servers.folder, "show", f"describe:{path}") + "\n"
    assert "description: Of births\n" in file
    reviewed = file.replace("Of births", "Births by state, as reviewed")
    sha = commit_files(servers.folder, {path: reviewed}, "Say more", "describe")
    reading = ssh.at("describe")
    assert (reading.sha, reading.subject) == (sha, "Say more")
    mapped = {"Warehouse PROD": "Warehouse PROD"}
    run = ssh.deploy(reading, target, (chart.uuid,), selection=(chart.uuid,), databases=mapped)
    assert run.plan.counts["update"] == 1
    assert [one.status for one in run.verdicts.all()] == ["ok"]
    body = product.read(target).documents[chart.uuid].body
    assert (body["slice_name"], body["description"]) == ("By state", "Births by state, as reviewed")
