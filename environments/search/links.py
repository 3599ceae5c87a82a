"""An address that somebody copied out of their browser, in Superset: which asset it is the page of.

Routes as Superset 4.1.4 to 6.1.0 has them, and older forms of them that stand in chats and mails.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from environments.canonical.documents import Kind
from environments.models import Asset, Environment

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HOST = re.compile(r"^[\w.-]+(:\d+)?/", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
# (what stands after the address of the instance, kind); the group is an id, a uuid or, of dashboards, a slug.
_PATHS = (
    (r"superset/dashboard/([^/]+)", Kind.DASHBOARD),
    (r"api/v1/dashboard/([^/]+)", Kind.DASHBOARD),
    (r"superset/slice/(\d+)", Kind.CHART),
    (r"chart/(\d+)", Kind.CHART),
    (r"api/v1/chart/([^/]+)", Kind.CHART),
    (r"superset/explore/table/(\d+)", Kind.DATASET),
    (r"tablemodelview/edit/(\d+)", Kind.DATASET),
    (r"dataset/(\d+)", Kind.DATASET),
    (r"api/v1/dataset/([^/]+)", Kind.DATASET),
    (r"api/v1/database/([^/]+)", Kind.DATABASE),
)
_PERMALINK = re.compile(r"(superset/)?(explore|dashboard)/p/[^/]+|r/\d+", re.IGNORECASE)
_EXPLORE = re.compile(r"(superset/)?explore", re.IGNORECASE)
_LISTS = re.compile(r"(dashboard|chart|tablemodelview|databaseview)/list|superset/welcome|")


@dataclass(frozen=True)
class Link:
    """What an address is. Without `asset`, `reason` says why, and what to do."""

    environment: Environment | None = None
    asset: Asset | None = None
    reason: str = ""


def resolve(user: Any, text: str) -> Link | None:
    """The asset that a pasted address leads to. None for a text that is no address. At most two queries."""
    address = _address(text)
    if address is None:
        return None
    environment, rest = _place(user, address)
    if environment is None:
        return Link(reason="No environment that you may see has this address.")
    named = _named(rest, address)
    if isinstance(named, str):
        return Link(environment, reason=named)
    kind, field, value = named
    rows = (
        Asset.objects.visible_to(user)
        .filter(environment=environment, kind=kind)
        .select_related("environment")
    )
    asset = rows.filter(**{field: value}).order_by("pk").first()
    if asset is None:
        return Link(
            environment,
            reason=f"{environment.name} had no {kind.value} with the {_word(field)} {value} at its last reading, or "
            "you may not see it. If it is new, read the environment again.",
        )
    return Link(environment, asset)


def page_of(asset: Asset) -> str:
    """The address of our page of an asset; the inventory, narrowed to it, where there is none."""
    try:
        return reverse("assets:detail", args=[f"{asset.kind}s", asset.uuid])
    except NoReverseMatch:
        return f"{reverse('environments:assets')}?{urlencode({'q': asset.uuid})}"


def _address(text: str) -> SplitResult | None:
    text = text.strip()
    if " " in text or "/" not in text:
        return None
    if not re.match(r"https?://", text, re.IGNORECASE):
        if not _HOST.match(text):
            return None
        text = f"//{text}"
    try:
        parts = urlsplit(text)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:  # a port that is no number, half an IPv6 address
        return None


def _place(user: Any, address: SplitResult) -> tuple[Environment | None, str]:
    """The environment whose address it begins with, the longest one, and what comes after."""
    path = unquote(address.path)
    found: tuple[Environment | None, str, int] = (None, "", -1)
    for environment in Environment.objects.visible_to(user):
        base = urlsplit(environment.url)
        prefix = base.path.rstrip("/")
        same_host = base.hostname == address.hostname and _same_port(base, address)
        if same_host and (path == prefix or path.startswith(prefix + "/")) and len(prefix) > found[2]:
            found = (environment, path[len(prefix) :].strip("/"), len(prefix))
    return found[0], found[1]


def _same_port(base: SplitResult, address: SplitResult) -> bool:
    """Where both have the port of their scheme, http and https are one server: people paste either."""
    own, given = (
        base.port or _PORTS.get(base.scheme),
        address.port or _PORTS.get(address.scheme or base.scheme),
    )
    return own == given or (base.port is None and address.port is None)


def _named(rest: str, address: SplitResult) -> tuple[Kind, str, str] | str:
    """(kind, field of Asset, value), or the reason why it names no asset."""
    if _PERMALINK.fullmatch(rest.removesuffix("/")):
        return (
            "This is a permalink: what it stands for is known to Superset alone. Open it there, and paste the address "
            "of the dashboard or chart itself."
        )
    if _EXPLORE.fullmatch(rest):
        return _explored(parse_qs(address.query))
    for pattern, kind in _PATHS:
        if match := re.fullmatch(pattern, rest, re.IGNORECASE):
            return _by(kind, match[1])
    if rest.startswith("sqllab"):
        return "This is a page of SQL Lab. Queries that are kept there are no assets that ss-tools reads."
    if _LISTS.fullmatch(rest):
        return "This is a list of Superset, not the page of one asset."
    return "This is no page of a dashboard, chart or dataset."


def _by(kind: Kind, value: str) -> tuple[Kind, str, str] | str:
    if _UUID.fullmatch(value):
        return kind, "uuid", value.lower()
    if value.isascii() and value.isdecimal() and len(value) < 19:
        return kind, "superset_id", value
    if kind == Kind.DASHBOARD:
        return kind, "slug", value
    return "This is no page of a dashboard, chart or dataset."


def _explored(query: dict[str, list[str]]) -> tuple[Kind, str, str] | str:
    """A page of Explore: of a saved chart, or of a dataset that somebody builds one on."""
    try:
        form = json.loads(query.get("form_data", ["{}"])[0])
    except ValueError:
        form = {}
    form = form if isinstance(form, dict) else {}

    def number(name: str) -> str:
        value = str(query.get(name, [form.get(name)])[0] or "")
        return value if value.isascii() and value.isdecimal() and len(value) < 19 else ""

    if slice_id := number("slice_id"):
        return Kind.CHART, "superset_id", slice_id
    dataset = number("datasource_id") or number("dataset_id")
    source = str(query.get("datasource", [form.get("datasource")])[0] or "")
    if match := re.fullmatch(r"(\d{1,18})__table", source):
        dataset = match[1]
    if dataset:
        return Kind.DATASET, "superset_id", dataset
    return (
        "This is a chart that was not saved, or its number is kept by Superset alone. Save it there, and paste its "
        "address again."
    )


def _word(field: str) -> str:
    return {"superset_id": "id"}.get(field, field)
