"""What differs between Superset releases, each line with its source, and how a release is recognised.

Sources: `L4.1` etc. = seen live on that version, `S` = read in that version's source; details in `superset-api.md` 13.
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
class Capabilities:
    """What one instance can do. JSON-able through `to_dict`; keep it with the environment and hand it to the client."""

    version: str
    sparse_import: bool = False  # assets/import honours `sparse`: 6.0+ (L6.0 L6.1; ignored on 4.1, 5.0)
    uuid_writable: bool = (
        False  # uuid of dashboard, chart, dataset by POST and PUT: 6.0+ (S6.0 S6.1; refused L4.1)
    )
    uuid_filter: bool = False  # lists filter by uuid (databases always): 6.0+ (L6.1 S6.0)
    themes: bool = False  # /api/v1/theme/ and themes in bundles: 6.0+ (L6.1 S6.0)
    tags_in_bundle: bool = False  # 6.0+ with TAGGING_SYSTEM (S6.0 L6.1)
    dataset_ids_in_export: bool = False  # datasets/<db>/<table>_<id>.yaml, no lost names: 6.0+ (L6.0 L6.1)
    membership_replaced: bool = (
        False  # dashboard/import sets the charts instead of adding: 6.1 (L6.1; union L4.1 to L6.0)
    )
    cross_filters_remapped: bool = False  # chart_configuration ids follow the import: 6.0+ (L6.0 L6.1)
    detailed_422: bool = False  # message of a 422 names files: 6.0+; older only in `extra` (L*)
    bearer_on_me: bool = False  # /api/v1/me/ takes a bearer: 6.1 (L6.1; 401 L4.1, S5.0 S6.0)
    dataset_by_uuid: bool = False  # GET dataset/<uuid>: 6.1 (L6.1)
    partial_dashboard_put: bool = False  # dashboard/{id}/filters and /colors: 5.0+ (S5.0 S6.1)
    currency_as_map: bool = False  # metric currency is a mapping in bundles: 6.0+ (L6.0 L6.1)
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
        six, six_one = known >= (6, 0, 0), known >= (6, 1, 0)
        return cls(
            version=version,
            sparse_import=six,
            uuid_writable=six,
            uuid_filter=six,
            themes=six,
            tags_in_bundle=six and flags.get("TAGGING_SYSTEM", False),
            dataset_ids_in_export=six,
            membership_replaced=six_one,
            cross_filters_remapped=six,
            detailed_422=six,
            bearer_on_me=six_one,
            dataset_by_uuid=six_one,
            partial_dashboard_put=known >= (5, 0, 0),
            currency_as_map=six,
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
