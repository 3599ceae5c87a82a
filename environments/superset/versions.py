"""What differs between Superset releases, each line with its source, and how a release is recognised.

Sources: `L4.1` etc. = seen live on that version (`L*`: on all four), `S` = read in that version's source, `I#` = an
issue of apache/superset. Fields of bundles are in `fields.py`, chart types in `viz_types.py`; docs/versions.md tells
both to people.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

TESTED = ("4.1.4", "5.0.0", "6.0.0", "6.1.0")
OLDEST = (4, 1)  # below this nothing was ever tried: other import schemas, other list columns


def version_tuple(version: str) -> tuple[int, int, int]:
    """("6.1.0rc2") -> (6, 1, 0); (0, 0, 0) when it is not a version, as in builds from a branch ("0.0.0-dev")."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version.strip())
    if found is None:
        return (0, 0, 0)
    major, minor, patch = found.groups(default="0")
    return (int(major), int(minor), int(patch))


_TESTED_MINORS = {version_tuple(version)[:2] for version in TESTED}


@dataclass(frozen=True, slots=True)
class Capability:
    """One difference between releases. `since`: the first that has it. `meaning`: what it is, for people.
    `probe`: how an instance itself is asked, a name in probing.py (`members`: only where it may write); "" where
    only the release's number tells.
    """

    name: str
    since: tuple[int, int]
    meaning: str
    source: str
    probe: str = ""


#: Every difference that ss-tools heeds or that explains what it does; those that decide are fields of `Capabilities`.
CAPABILITIES: tuple[Capability, ...] = (
    Capability(
        "sparse_import",
        (6, 0),
        "assets/import takes bundles without connections (`sparse`)",
        "L6.0 L6.1; ignored L4.1 L5.0",
        "openapi_sparse",
    ),
    Capability(
        "uuid_writable",
        (6, 0),
        "the uuid of a dashboard, chart or dataset can be set by POST and PUT",
        "S6.0 S6.1; refused L4.1",
        "openapi_uuid",
    ),
    Capability(
        "uuid_filter", (6, 0), "lists filter by uuid (connections: always)", "L6.1 S6.0", "uuid_filter"
    ),
    Capability("themes", (6, 0), "themes, and themes in bundles", "L6.1 S6.0", "openapi_themes"),
    Capability("tags_in_bundle", (6, 0), "tags in bundles, with TAGGING_SYSTEM", "S6.0 L6.1", "tagging_flag"),
    Capability(
        "dataset_ids_in_export",
        (6, 0),
        "files of datasets carry their id, so that none of the same name is lost",
        "L6.0 L6.1; lost L4.1 L5.0",
        "dataset_files",
    ),
    Capability(
        "membership_replaced",
        (6, 1),
        "dashboard/import sets the charts of a dashboard; before it only adds",
        "L6.1; union L4.1 L5.0 L6.0",
        "members",
    ),
    Capability(
        "cross_filters_remapped",
        (6, 0),
        "ids in cross-filter settings follow an import",
        "L6.0 L6.1; stale L4.1",
    ),
    Capability(
        "detailed_422",
        (6, 0),
        "a refused import says which file and field",
        "L*; before only in `extra`",
    ),
    Capability("bearer_on_me", (6, 1), "/api/v1/me/ takes a bearer token", "L6.1; 401 L4.1, S5.0 S6.0", "me"),
    Capability("dataset_by_uuid", (6, 1), "a dataset can be asked for by uuid", "L6.1", "dataset_by_uuid"),
    Capability(
        "partial_dashboard_put",
        (5, 0),
        "filters and colours of a dashboard can be set alone",
        "S5.0 S6.1; absent S4.1",
        "openapi_partial_put",
    ),
    Capability(
        "currency_as_map",
        (6, 0),
        "the currency of a metric is a mapping; before a text",
        "L6.0 L6.1; text L4.1",
    ),
    Capability(
        "version_endpoint", (6, 1), "/version tells the version", "L6.1; 404 L4.1, S5.0 S6.0", "version"
    ),
    Capability(
        "security_api",
        (6, 0),
        "users and roles by REST unless switched off; before only where switched on",
        "L6.1 S6.0; 404 L4.1, S5.0",
        "security_api",
    ),
    Capability(
        "encrypted_extra_exported",
        (6, 1),
        "exports of connections name their encrypted extra (masked)",
        "S6.1",
    ),
    Capability(
        "effective_cache_timeout_exported",
        (6, 1),
        "exports give a dataset the cache timeout that it inherits from its connection",
        "L6.1",
    ),
    Capability(
        "default_catalog_only",
        (6, 0),
        "an import that writes a connection asks its default catalog only; before every catalog",
        "S6.0 S6.1; I#32993",
    ),
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one instance can do: `CAPABILITIES` says what each means. JSON-able through `to_dict`; keep it with the
    environment and hand it to the client.
    """

    version: str
    sparse_import: bool = False
    uuid_writable: bool = False
    uuid_filter: bool = False
    themes: bool = False
    tags_in_bundle: bool = False
    dataset_ids_in_export: bool = False
    membership_replaced: bool = False
    cross_filters_remapped: bool = False
    detailed_422: bool = False
    bearer_on_me: bool = False
    dataset_by_uuid: bool = False
    partial_dashboard_put: bool = False
    currency_as_map: bool = False
    tested: bool = False  # major and minor are among TESTED
    supported: bool = True  # not older than OLDEST
    feature_flags: dict[str, bool] = field(default_factory=dict)
    auth_type: int | None = (
        None  # Flask-AppBuilder's AUTH_TYPE: 1 db, 2 ldap, 3 remote user, 4 oauth; told by 6.1 only
    )
    sql_max_row: int | None = None  # rows one chart query may return (SQL_MAX_ROW), where the bootstrap tells

    @classmethod
    def of_version(
        cls,
        version: str,
        *,
        feature_flags: Mapping[str, Any] | None = None,
        auth_type: int | None = None,
        sql_max_row: int | None = None,
    ) -> Capabilities:
        """By release number. An unknown number counts as the newest tested one; `with_openapi` corrects that."""
        number = version_tuple(version)
        known = number if number != (0, 0, 0) else version_tuple(TESTED[-1])
        flags = {str(name): bool(value) for name, value in (feature_flags or {}).items()}
        own = {item.name for item in fields(cls)}
        found = {line.name: known[:2] >= line.since for line in CAPABILITIES if line.name in own}
        found["tags_in_bundle"] &= flags.get("TAGGING_SYSTEM", False)
        return cls(
            version=version,
            **found,
            tested=number[:2] in _TESTED_MINORS,
            supported=number == (0, 0, 0) or number[:2] >= OLDEST,
            feature_flags=flags,
            auth_type=auth_type,
            sql_max_row=sql_max_row,
        )

    def with_openapi(self, spec: Mapping[str, Any]) -> Capabilities:
        """Corrected by what the instance itself declares (`/api/v1/_openapi`): forks and builds from a branch."""
        paths = spec.get("paths")
        if not isinstance(paths, Mapping):
            return self
        themes = any(str(path).startswith("/api/v1/theme/") for path in paths)
        text = json.dumps(paths.get("/api/v1/assets/import/", {}))
        return replace(self, sparse_import='"sparse"' in text, themes=themes)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Capabilities:
        """Unknown keys are left out, missing ones have their default: stored ones survive an upgrade of ss-tools."""
        known = {item.name for item in fields(cls)}
        return cls(**{"version": "", **{key: value for key, value in data.items() if key in known}})


def read_bootstrap(page: str) -> dict[str, Any] | None:
    """The `common` part of the JSON that Superset's pages carry in `data-bootstrap`, or None when there is none.

    It is there before anybody signs in (4.1.4 and 6.1.0): feature flags, version string, parts of the configuration.
    """
    found = re.search(r"data-bootstrap=(\"[^\"]*\"|'[^']*')", page)
    if found is None:
        return None
    try:
        data = json.loads(html.unescape(found.group(1)[1:-1]))
    except (ValueError, RecursionError):
        return None
    common = data.get("common") if isinstance(data, dict) else None
    return common if isinstance(common, dict) else None


def bootstrap_version(common: Mapping[str, Any]) -> str | None:
    menu = common.get("menu_data")
    right = menu.get("navbar_right") if isinstance(menu, Mapping) else None
    version = right.get("version_string") if isinstance(right, Mapping) else None
    return version if isinstance(version, str) and version_tuple(version) != (0, 0, 0) else None
