"""What an audit is given, and what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from environments.canonical.documents import Document, Documents, Kind

Keys = tuple[str | int, ...]
_TITLES = {
    "dashboard": "dashboard_title",
    "chart": "slice_name",
    "dataset": "table_name",
    "database": "database_name",
    "theme": "theme_name",
}


class Severity(StrEnum):
    """ERROR: an import fails, or destroys something. WARNING: something is lost or not as meant. INFO: good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class AssetFile(Protocol):
    """One parsed file (`environments.superset.bundle.RawAsset`); `path` is that in the tree."""

    @property
    def kind(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def source_id(self) -> int | None: ...


@dataclass(frozen=True)
class Finding:
    """`keys`: what leads to it in the file of `path`. `text`: what is there. `plain_import`: what comes of it where
    Superset's own import, or a tool that stands on it, gets these files. `with_ss_tools`: what ss-tools does.
    """

    code: str
    severity: Severity
    path: str
    keys: Keys
    kind: str
    uuid: str
    title: str
    text: str
    plain_import: str
    with_ss_tools: str


@dataclass(frozen=True)
class AuditInput:
    """The files of a tree, and the target as it was read.

    `assets`: doubled ones included, secrets in clear. `queries`: (path, data) of saved queries. `problems`: (path,
    line, text) of files that could not be read. `templates`: paths with Jinja that was left as text.
    `unknown_fields`: kind -> name ("columns.x", "metadata.x" and "extra.x" too) -> what an asset is without it, for
    what the target's version does not know. `undrawable`: chart type -> why the target cannot draw it. `catalogs`:
    the default catalog of connections of the target whose engine has catalogs. `version`: of the target, () if unknown.
    """

    assets: Sequence[AssetFile]
    target: Documents
    target_name: str
    queries: Sequence[tuple[str, Mapping[str, Any]]] = ()
    problems: Sequence[tuple[str, int, str]] = ()
    templates: Sequence[str] = ()
    unknown_fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    undrawable: Mapping[str, str] = field(default_factory=dict)
    catalogs: Mapping[str, str | None] = field(default_factory=dict)
    version: tuple[int, ...] = ()

    def of_kind(self, kind: Kind) -> list[AssetFile]:
        return [asset for asset in self.assets if asset.kind == kind]

    @cached_property
    def uuids(self) -> Mapping[str, frozenset[str]]:
        """Kind -> uuids that the files hold."""
        found: dict[str, set[str]] = {}
        for asset in self.assets:
            found.setdefault(asset.kind, set()).add(asset.uuid)
        return {kind: frozenset(uuids) for kind, uuids in found.items()}

    def has(self, kind: Kind, uuid: object) -> bool:
        return str(uuid).lower() in self.uuids.get(kind, frozenset())

    def there(self, kind: Kind, uuid: object) -> Document | None:
        """The asset of the target."""
        found = self.target.get(str(uuid).lower())
        return found if found is not None and found.kind == kind else None

    @cached_property
    def by_name(self) -> Mapping[str, Document]:
        """Connections of the target by name."""
        return {
            str(item.body.get("database_name")): item
            for item in self.target.values()
            if item.kind == Kind.DATABASE
        }


def title_of(asset: AssetFile) -> str:
    return str(asset.data.get(_TITLES.get(asset.kind, "")) or asset.uuid)


def finding(
    asset: AssetFile,
    code: str,
    severity: Severity,
    keys: Iterable[str | int],
    text: str,
    plain_import: str,
    with_ss_tools: str,
) -> Finding:
    """About one file."""
    return Finding(
        code,
        severity,
        asset.path,
        tuple(keys),
        asset.kind,
        asset.uuid,
        title_of(asset),
        text,
        plain_import,
        with_ss_tools,
    )


def counts_of(findings: Iterable[Finding]) -> dict[str, int]:
    """Number of findings by severity, every one named."""
    counts = dict.fromkeys((severity.value for severity in Severity), 0)
    for one in findings:
        counts[one.severity.value] += 1
    return counts
