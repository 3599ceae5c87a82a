"""Alerts and reports, with their recipients. New ones arrive switched off unless the caller says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from environments.canonical.companions import Companion, CompanionKind, sorted_people
from environments.canonical.documents import Kind
from environments.superset.client import SupersetClient
from environments.superset.versions import version_tuple

from .reading import Adapter, CompanionId, Lookup, Reader, parsed, refuse

#: Fields that are the same in the answer, in the body and in what is sent. Superset's names, all versions.
_PLAIN = (
    "type",
    "name",
    "description",
    "active",
    "crontab",
    "timezone",
    "sql",
    "validator_type",
    "grace_period",
    "working_timeout",
    "log_retention",
    "report_format",
    "force_screenshot",
    "custom_width",
    "email_subject",
    "context_markdown",
    "creation_method",
)
_SHOWN = (Kind.DASHBOARD, Kind.CHART, Kind.DATABASE)
_ADDRESSES = {"target": "target", "cc": "ccTarget", "bcc": "bccTarget"}
#: A PUT or POST refuses null for these (superset/reports/schemas.py, S4.1 S6.1); left out they keep their defaults.
_NEVER_NULL = (
    "sql",
    "validator_type",
    "grace_period",
    "working_timeout",
    "log_retention",
    "email_subject",
    "description",
)


def _read(reader: Reader) -> None:
    """One request per hundred, and one for each that matters: the list has no recipients' addresses."""
    wanted = []
    for row in reader.client.list_rows("report", ("id", "chart_id", "dashboard_id")):
        shown = [
            reader.uuid_of(kind, row[column])
            for kind, column in ((Kind.CHART, "chart_id"), (Kind.DASHBOARD, "dashboard_id"))
            if row.get(column) is not None
        ]
        if reader.matters(uuid for uuid in shown if uuid):
            wanted.append(row["id"])
    found = reader.client.get_each(("report", number) for number in wanted)
    for number, item in zip(wanted, found, strict=True):
        if item is not None:
            reader.add(_report(reader, item), number)


def _report(reader: Reader, item: Mapping[str, Any]) -> Companion:
    body: dict[str, Any] = {name: item.get(name) for name in _PLAIN}
    lost = []
    for kind in _SHOWN:
        held = item.get(kind.value)
        body[kind.value] = reader.uuid_of(kind, held.get("id")) if isinstance(held, Mapping) else None
        if held and body[kind.value] is None:
            lost.append(kind.value)
    body["active"] = bool(item.get("active"))
    body["force_screenshot"] = bool(item.get("force_screenshot"))
    body["validator_config"] = parsed(item.get("validator_config_json"))
    body["extra"] = parsed(item.get("extra"))
    body["owners"] = sorted_people(reader.persons(item.get("owners") or ()))
    recipients = [_recipient(recipient) for recipient in item.get("recipients") or ()]
    body["recipients"] = sorted(recipients, key=lambda each: (each["type"], each["target"]))
    report = Companion.of(CompanionKind.REPORT, body)
    if lost:
        text = f"The {report.body['type'].lower()} “{report.title}” shows a {lost[0]} that the account does not see."
        reader.note("unresolved_id", report.uuid, text)
    return report


def _recipient(item: Mapping[str, Any]) -> dict[str, Any]:
    config = parsed(item.get("recipient_config_json"))
    kind = str(item.get("type") or "")
    said = {name: str(config.get(field) or "") for name, field in _ADDRESSES.items()}
    if kind == "Webhook":  # 6.1: whoever has the address may post to it
        address = urlsplit(said["target"])
        return {
            "type": kind,
            "target": f"{address.scheme}://{address.hostname}/…",
            "cc": "",
            "bcc": "",
            "withheld": True,
        }
    return {"type": kind, **said}


def _write(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """`active` of the body is written as it stands. A new one without owners gets the account itself as its owner, who
    is taken away again. A webhook is kept where the report has it already, since its address was never read out.
    """
    body = companion.body
    fields: dict[str, Any] = {
        name: body[name] for name in _PLAIN if body.get(name) is not None or name not in _NEVER_NULL
    }
    for kind in _SHOWN:
        uuid = body.get(kind.value)
        if uuid is not None:
            fields[kind.value] = lookup.asset(kind, uuid)
        elif kind != Kind.DATABASE:
            fields[kind.value] = None
    fields["extra"] = body.get("extra") or {}
    if body.get("validator_config"):
        fields["validator_config_json"] = body["validator_config"]
    fields["owners"] = lookup.users(body["owners"])
    fields["recipients"] = _recipients(client, body, existing)
    if existing is None:
        # What says that it was made on a dashboard gets the account itself as its recipient, whatever is sent, and one
        # account has one of these for each dashboard (superset/commands/report/create.py, S6.1): it says so afterwards.
        existing = client.create("report", {**fields, "creation_method": "alerts_reports"})
        if fields.get("creation_method") in (None, "alerts_reports") and fields["owners"]:
            return existing
    client.update("report", existing, fields)
    return existing


def _recipients(
    client: SupersetClient, body: Mapping[str, Any], existing: CompanionId | None
) -> list[dict[str, Any]]:
    held: dict[str, list[Any]] = {}
    if existing is not None and (
        not body["recipients"] or any(item.get("withheld") for item in body["recipients"])
    ):
        for item in client.get("report", existing).get("recipients") or ():
            held.setdefault(_recipient(item)["target"], []).append(parsed(item.get("recipient_config_json")))
    # Before 6.1 an empty list changes nothing, with a 200 (ReportScheduleDAO.update, S4.1 S5.0 S6.0, L4.1; L6.1).
    if held and not body["recipients"] and (0, 0, 0) < version_tuple(client.capabilities.version) < (6, 1, 0):
        refuse(
            f"Superset {client.capabilities.version} cannot take all recipients from “{body['name']}”. Nothing was "
            "written; leave one, or remove it there."
        )
    found = []
    for item in body["recipients"]:
        if not item.get("withheld"):
            config = {field: item[name] for name, field in _ADDRESSES.items() if item.get(name)}
        elif held.get(item["target"]):
            config = held[item["target"]].pop(0)
        else:
            refuse(
                f"“{body['name']}” posts to {item['target']}, whose address is a secret that was never read. Nothing "
                "was written; replace or leave out this recipient.",
                "withheld",
            )
        found.append({"type": item["type"], "recipient_config_json": config})
    return found


def _delete(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    client.delete("report", existing)


REPORT = Adapter(_read, _write, _delete)
