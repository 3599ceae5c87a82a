"""Which companions a Superset has: by release and feature flag, each line with its source.

Sources as in `versions.py`: `L4.1` = seen live on 4.1.4, `L*` on 4.1.4, 5.0.0, 6.0.0 and 6.1.0, by the one trial of
tests/live/test_companions.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from environments.canonical.companions import CompanionKind
from environments.superset.versions import Capabilities, version_tuple


@dataclass(frozen=True, slots=True)
class Support:
    """Where a kind of companion exists. `flag` must be on; `right` is what the account needs to write it."""

    name: str  # in a sentence: "{name} cannot be read"
    right: str
    since: tuple[int, int, int] = (0, 0, 0)
    flag: str = ""
    source: str = ""


SUPPORT: Mapping[CompanionKind, Support] = {
    CompanionKind.OWNERS: Support(
        "Owners",
        "can_write on Dashboard, Chart, Dataset",
        source="PUT owners, L*; e-mail in lists L6.1",
    ),
    CompanionKind.ROLES: Support(
        "Roles of dashboards",
        "can_write on Dashboard",
        source="PUT roles, L*; obeyed with DASHBOARD_RBAC",
    ),
    CompanionKind.TAGS: Support(
        "Tags of assets", "can_write on Tag", flag="TAGGING_SYSTEM", source="PUT tags, L*"
    ),
    CompanionKind.TAG: Support(
        "Tags", "can_write on Tag", flag="TAGGING_SYSTEM", source="superset/tags/api.py, L*"
    ),
    CompanionKind.EMBEDDED: Support(
        "Settings for embedding",
        "can_set_embedded on Dashboard",
        flag="EMBEDDED_SUPERSET",
        source="dashboard/<id>/embedded, L*",
    ),
    CompanionKind.THEME: Support(
        "Themes", "can_write on Theme", since=(6, 0, 0), source="superset/themes/api.py, L6.0 L6.1"
    ),
    CompanionKind.THEME_USE: Support(
        "Themes of dashboards", "can_write on Dashboard", since=(6, 0, 0), source="PUT theme_id, L6.0 L6.1"
    ),
    CompanionKind.RLS: Support(
        "Rules for rows",
        "can_write on Row Level Security",
        source="superset/row_level_security/api.py, L*",
    ),
    CompanionKind.ANNOTATION_LAYER: Support(
        "Annotation layers", "can_write on Annotation", source="superset/annotation_layers/api.py, L*"
    ),
    CompanionKind.ANNOTATION_USE: Support(
        "Annotation layers of charts", "can_write on Chart", source="PUT params of a chart, L*"
    ),
    CompanionKind.CSS_TEMPLATE: Support(
        "CSS templates", "can_write on CssTemplate", source="superset/css_templates/api.py, L*"
    ),
    CompanionKind.SAVED_QUERY: Support(
        "Saved queries",
        "can_write on SavedQuery",
        source="superset/queries/saved_queries/api.py, L*: only those of the account itself",
    ),
    CompanionKind.REPORT: Support(
        "Alerts and reports",
        "can_write on ReportSchedule",
        flag="ALERT_REPORTS",
        source="superset/reports/api.py, L*",
    ),
    CompanionKind.ACCESS: Support(
        "Access by role",
        "can_list_role_permissions and can_add_role_permissions on Role",
        source="Flask-AppBuilder's security API: on from 6.0, off before unless FAB_ADD_SECURITY_API (L4.1 L6.1)",
    ),
}


def why_not(kind: CompanionKind, capabilities: Capabilities) -> str | None:
    """Why this Superset cannot have such companions, a sentence for people; None where it can, as far as is known."""
    support = SUPPORT[kind]
    number = version_tuple(capabilities.version)
    if support.since > number != (0, 0, 0) and not (capabilities.themes and support.since == (6, 0, 0)):
        since = ".".join(map(str, support.since[:2]))
        return f"{support.name} came with Superset {since}; this one is {capabilities.version}."
    if support.flag and capabilities.feature_flags and not capabilities.feature_flags.get(support.flag):
        return f"{support.name} are off in this Superset (feature flag {support.flag})."
    return None
