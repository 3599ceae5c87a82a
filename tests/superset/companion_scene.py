"""Two Supersets with the same dashboard, one with all that is in no export: the same trial on fakes and on real ones,
so that the fake cannot drift (tests/superset/test_companions.py, tests/live/test_companions.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from environments.canonical.companions import (
    FACETS,
    Companion,
    CompanionKind,
    companion_uuid,
    comparable,
    facet_key,
    mapped,
    person_key,
)
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable
from environments.superset.client import SupersetClient
from environments.superset.companions import (
    CompanionsRead,
    Lookup,
    delete_companion,
    list_people,
    list_roles,
    read_companions,
    write_companion,
)
from environments.superset.versions import version_tuple

FLAGS = {"TAGGING_SYSTEM": True, "ALERT_REPORTS": True, "EMBEDDED_SUPERSET": True, "DASHBOARD_RBAC": True}
ALL = frozenset(CompanionKind)
KINDS = {"database": Kind.DATABASE, "dataset": Kind.DATASET, "dashboard": Kind.DASHBOARD}
WEBHOOK = {
    "type": "Webhook",
    "recipient_config_json": {"target": "https://hooks.example.org/services/T0/hidden-key"},
}


@dataclass
class Side:
    """One Superset. `uuids` and `numbers` are of "database", "dataset", "dashboard" and of two charts by name; `role`
    and `person` (a user name) are who is named there.
    """

    client: SupersetClient
    call: Callable[..., dict[str, Any]]  # (method, path, body) -> the answer; not through what is on trial
    role: str
    person: str
    uuids: dict[str, str]
    numbers: dict[str, int]
    ids: IdTable = field(default_factory=IdTable)

    def __post_init__(self) -> None:
        for name, uuid in self.uuids.items():
            self.ids.add(KINDS.get(name, Kind.CHART), self.numbers[name], uuid)

    def read(self, kinds: Any = ALL, assets: Any = None) -> CompanionsRead:
        return read_companions(self.client, kinds, self.ids, assets=assets)

    def lookup(self, read: CompanionsRead) -> Lookup:
        return Lookup(self.client, self.ids, dict(read.ids))

    def facet_uuid(self, kind: CompanionKind, name: str) -> str:
        return companion_uuid(kind, facet_key(KINDS.get(name, Kind.CHART), self.uuids[name]))


def furnish(side: Side) -> None:
    """All that is in no export, by Superset's API itself."""
    call, number, number_of = side.call, side.numbers, side.numbers
    role = list_roles(side.client)[side.role]
    owner = next(user.id for user in list_people(side.client).users if side.person in (user.email or ""))
    dashboard = f"/api/v1/dashboard/{number['dashboard']}"
    call("PUT", dashboard, {"owners": [owner], "roles": [role]})
    call("PUT", f"/api/v1/dataset/{number['dataset']}", {"owners": [owner]})
    tag = {
        "name": "Finance: 2024",
        "description": "Money",
        "objects_to_tag": [["dashboard", number["dashboard"]]],
    }
    call("POST", "/api/v1/tag/bulk_create", {"tags": [tag]})
    call("POST", f"{dashboard}/embedded", {"allowed_domains": ["https://portal.example"]})
    rule: dict[str, Any] = {
        "name": "Own lines",
        "filter_type": "Regular",
        "clause": "name like '%r%'",
        "group_key": "lines",
    }
    call("POST", "/api/v1/rowlevelsecurity/", {**rule, "tables": [number["dataset"]], "roles": [role]})
    layer = call("POST", "/api/v1/annotation_layer/", {"name": "Holidays", "descr": "of the company"})["id"]
    for day, metadata in (("2024-01-01", '{"color": "red"}'), ("2024-05-01", "")):
        moment = {"start_dttm": f"{day}T00:00:00", "end_dttm": f"{day}T12:30:00", "json_metadata": metadata}
        said = {"short_descr": f"Day off {day}", "long_descr": "Ünïcode", **moment}
        call("POST", f"/api/v1/annotation_layer/{layer}/annotation/", said)
    layers = [
        {"name": "line", "annotationType": "FORMULA", "value": "x*2", "show": True},
        {"name": "off", "annotationType": "EVENT", "sourceType": "NATIVE", "value": layer, "show": True},
        {"name": "too", "annotationType": "TIME_SERIES", "sourceType": "line", "value": number["Colors"]},
    ]
    put_layers(side, layers)
    call("POST", "/api/v1/css_template/", {"template_name": "House", "css": ".a { color: red }"})
    query = {"label": "Lines", "sql": "select * from bart_lines", "schema": "main", "description": "all"}
    call("POST", "/api/v1/saved_query/", {**query, "db_id": number_of["database"]})
    mail: dict[str, Any] = {
        "type": "Email",
        "recipient_config_json": {"target": "boss@example.com", "ccTarget": "cc@example.com"},
    }
    common: dict[str, Any] = {
        "crontab": "0 9 * * 1",
        "timezone": "Europe/Berlin",
        "active": True,
        "owners": [owner],
    }
    has_webhooks = version_tuple(side.client.capabilities.version) >= (6, 1, 0)
    recipients = [mail, WEBHOOK] if has_webhooks else [mail]
    shown = {
        "type": "Report",
        "name": "Weekly",
        "dashboard": number["dashboard"],
        "description": "for the boss",
    }
    call(
        "POST", "/api/v1/report/", {**common, **shown, "creation_method": "dashboards", "recipients": [mail]}
    )
    rule = {
        "validator_type": "operator",
        "validator_config_json": {"op": ">", "threshold": 3},
        "sql": "select 1",
    }
    alert = {
        "type": "Alert",
        "name": "Too many",
        "chart": number["Lines"],
        "database": number["database"],
        **rule,
    }
    call(
        "POST",
        "/api/v1/report/",
        {**common, **alert, "creation_method": "alerts_reports", "recipients": recipients},
    )


def put_layers(side: Side, layers: list[dict[str, Any]]) -> None:
    path = f"/api/v1/chart/{side.numbers['Lines']}"
    params = json.loads(side.call("GET", path)["result"]["params"])
    context = {
        "datasource": {"id": side.numbers["dataset"], "type": "table"},
        "form_data": {**params, "annotation_layers": layers},
        "queries": [{"columns": ["name"], "annotation_layers": layers}],
    }
    form = {**params, "annotation_layers": layers}
    side.call("PUT", path, {"params": json.dumps(form), "query_context": json.dumps(context)})


def furnish_theme(side: Side) -> None:
    """From 6.0 on."""
    theme = side.call(
        "POST", "/api/v1/theme/", {"theme_name": "Night", "json_data": '{"token": {"colorPrimary": "#123"}}'}
    )
    side.call("PUT", f"/api/v1/dashboard/{side.numbers['dashboard']}", {"theme_id": theme["id"]})


def brought(companion: Companion, source: Side, target: Side) -> Companion:
    """For the other side: its assets, its role in place of ours, its person in place of ours. Webhooks stay behind."""

    def person(who: Mapping[str, Any]) -> Mapping[str, Any]:
        ours = person_key(who).startswith(source.person)
        email = f"{target.person}@example.com" if ours else who["email"]
        return {"username": None, "email": email, "first_name": "", "last_name": ""}

    uuids = {uuid: target.uuids[name] for name, uuid in source.uuids.items()}
    there = mapped(
        companion,
        assets=uuids,
        role=lambda name: target.role if name == source.role else name,
        person=person,
    )
    if companion.kind == CompanionKind.REPORT:
        kept = [item for item in companion.body["recipients"] if not item.get("withheld")]
        there = there.replace(recipients=kept)
    return there


def check_it_arrives(source: Side, target: Side) -> CompanionsRead:
    """Everything of the source is written to the target and is there as it was; a second time changes nothing."""
    read, before = source.read(), target.read()
    assert read.notes == ()
    wanted = {
        there.uuid: there
        for companion in read.documents.values()
        if (there := brought(companion, source, target)).kind in before.kinds
    }
    lookup = target.lookup(before)
    for uuid, companion in [*wanted.items(), *wanted.items()]:
        write_companion(target.client, companion, lookup.ids.get(uuid), lookup)
    after = target.read()
    for uuid, companion in wanted.items():
        assert comparable(after.documents[uuid]) == comparable(companion), companion.kind
        assert after.documents[uuid].body.get("active") == companion.body.get("active")
    assert {uuid: after.ids[uuid] for uuid in wanted} == {uuid: lookup.ids[uuid] for uuid in wanted}
    check_layers(target, lookup)
    return after


def check_layers(side: Side, lookup: Lookup) -> None:
    """The chart names the ids of its own Superset, in all three places."""
    chart = side.call("GET", f"/api/v1/chart/{side.numbers['Lines']}")["result"]
    form, context = json.loads(chart["params"]), chart["query_context"]
    layer = lookup.ids[companion_uuid(CompanionKind.ANNOTATION_LAYER, "Holidays")]
    expected = ["x*2", layer, side.numbers["Colors"]]
    assert [item["value"] for item in form["annotation_layers"]] == expected
    assert form["datasource"] == f"{side.numbers['dataset']}__table"
    if context is not None:
        context = json.loads(context)
        for held in (context["form_data"], *context["queries"]):
            assert [item["value"] for item in held["annotation_layers"]] == expected


def check_changes(side: Side) -> None:
    """What is there becomes what is wanted: also fewer annotations, no more recipients, another description of a tag
    that is in use.
    """
    read = side.read()
    lookup = side.lookup(read)
    no_one = version_tuple(side.client.capabilities.version) >= (6, 1, 0)
    other: list[dict[str, Any]] = [{"type": "Slack", "target": "#bi", "cc": "", "bcc": ""}]
    changes: dict[CompanionKind, dict[str, Any]] = {
        CompanionKind.TAG: {"description": "Other money"},
        CompanionKind.ANNOTATION_LAYER: {
            "description": None,
            "annotations": [{"name": "New", "description": None, "start": "2025-01-01T00:00:00",
                             "end": "2025-01-02T00:00:00", "metadata": None}],
        },
        CompanionKind.CSS_TEMPLATE: {"css": ""},
        CompanionKind.RLS: {"clause": "1 = 1", "filter_type": "Base", "roles": [], "description": "New"},
        CompanionKind.EMBEDDED: {"allowed_domains": []},
        CompanionKind.SAVED_QUERY: {"label": "Lines too", "sql": "select 2"},
        CompanionKind.REPORT: {"active": False, "crontab": "1 1 1 1 1", "recipients": [] if no_one else other},
        CompanionKind.TAGS: {"tags": ["Finance: 2024", "a, b"]},
        CompanionKind.THEME: {"name": "Day", "json_data": {"token": {}}},
    }  # fmt: skip
    wanted = {}
    for uuid, companion in read.documents.items():
        if companion.kind in changes:
            wanted[uuid] = companion.replace(**changes[companion.kind])
            assert write_companion(side.client, wanted[uuid], read.ids[uuid], lookup) == read.ids[uuid]
    after = side.read()
    for uuid, companion in wanted.items():
        assert after.documents[uuid].body == companion.body, companion.kind
    assert {wanted[uuid].kind for uuid in wanted} >= set(changes) - {CompanionKind.THEME}


def check_removal(side: Side) -> None:
    """Nothing is left, and removing what is gone is no error."""
    read = side.read()
    kinds = {companion.kind for companion in read.documents.values()}
    for uuid, companion in reversed(list(read.documents.items())):
        for _ in range(1 if companion.kind in FACETS else 2):
            delete_companion(side.client, companion, read.ids[uuid])
    assert side.read().documents == {}
    assert kinds >= {
        CompanionKind.OWNERS,
        CompanionKind.RLS,
        CompanionKind.REPORT,
        CompanionKind.ANNOTATION_USE,
    }
    chart = side.call("GET", f"/api/v1/chart/{side.numbers['Lines']}")["result"]
    assert [item["value"] for item in json.loads(chart["params"])["annotation_layers"]] == ["x*2"]
