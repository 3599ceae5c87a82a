"""The connection test: what works, what does not, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import SupersetError, SupersetUnreachable
from .versions import TESTED, Capabilities

if TYPE_CHECKING:
    from .client import SupersetClient

CHECK_TIMEOUT = 15.0  # seconds for one answer while testing: a person is waiting
SLOW_SECONDS = 1.0  # a small answer takes a Superset 25 ms (superset-api.md 15)

ASSETS = {"dashboard": "Dashboard", "chart": "Chart", "dataset": "Dataset", "database": "Database"}

# What a migration does, as Superset's permissions (superset-api.md 3).
SOURCE_RIGHTS = (
    ("can_read", "Dashboard"),
    ("can_read", "Chart"),
    ("can_read", "Dataset"),
    ("can_read", "Database"),
    ("can_export", "Dashboard"),
    ("can_export", "Chart"),
    ("can_export", "Dataset"),
)
TARGET_RIGHTS = (
    ("can_write", "Dashboard"),
    ("can_write", "Chart"),
    ("can_write", "Dataset"),
    ("can_write", "Database"),
)
CSRF_RIGHT = ("can_read", "SecurityRestApi")  # without a CSRF token nothing can be written
ASSETS_IMPORT = (
    "can_import_",
    "ImportExportRestApi",
)  # with the trailing underscore; can_import is another one

REMEDIES = {
    "name_not_resolved": "Correct the host name, or make it known to the DNS that this machine uses.",
    "connection_refused": "Start Superset there, or correct the port.",
    "host_unreachable": "Check routes, VPN and firewall between this machine and Superset.",
    "tls_failed": "Correct the certificate, or give the CA file that signed it.",
    "proxy_failed": "Correct the proxy's address, or leave it out.",
    "timeout": "Check the firewall, or whether Superset is overloaded; raise the timeout if it is just slow.",
    "connection_lost": "Try again; if it repeats, look into the logs of Superset and of the proxy before it.",
    "server_error": "Look into Superset's log; it fails on its own.",
    "rate_limited": "Wait a little, or lower the number of parallel requests.",
    "unauthorized": "Give the right user and password, or a token that is still good.",
    "forbidden": "Give the account the Admin role in Superset.",
    "login_provider": "Choose the provider this Superset is configured for, or give a token.",
    "not_superset": "Correct the address: it has to be the one under which Superset's own pages open.",
    "bad_url": "Correct the address.",
    "csrf": "Let the proxy pass cookies and the Referer header through.",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the test. `ok` is None for a step that could not be tried, or that is only a warning."""

    name: str
    ok: bool | None
    text: str
    remedy: str = ""
    code: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """`can_be_source` and `can_be_target` say what the account is good for; `missing_rights` what it lacks for both.

    `bearer_ignored` names the lists that this Superset shows to everybody, where it does not look at the token at all:
    an admin sees what the Public role sees (superset-api.md 2.6). `is_admin` is None where it could not be found out.
    """

    stages: tuple[Stage, ...] = ()
    version: str = ""
    capabilities: Capabilities | None = None
    user: str = ""
    is_admin: bool | None = None
    missing_rights: tuple[str, ...] = ()
    bearer_ignored: tuple[str, ...] = ()
    can_be_source: bool = False
    can_be_target: bool = False
    latency_ms: float | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Reads and writes would work: no stage failed."""
        return bool(self.stages) and all(stage.ok is not False for stage in self.stages)

    @property
    def problem(self) -> Stage | None:
        return next((stage for stage in self.stages if stage.ok is False), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        data = asdict(self)
        data["stages"] = [asdict(stage) for stage in self.stages]
        data["ok"] = self.ok
        for name in ("missing_rights", "bearer_ignored"):
            data[name] = list(data[name])
        return data


class _Test:
    def __init__(self, client: SupersetClient) -> None:
        self.client = client
        self.stages: list[Stage] = []
        self.started = time.monotonic()
        self.facts: dict[str, Any] = {}
        self.may_get_csrf = True

    def stage(self, name: str, ok: bool | None, text: str, remedy: str = "", code: str = "") -> None:
        seconds, self.started = time.monotonic() - self.started, time.monotonic()
        self.stages.append(Stage(name, ok, text, remedy, code, round(seconds, 3)))

    def failed(self, name: str, error: SupersetError) -> None:
        tls = error.detail.get("tls")
        remedy = _TLS_REMEDIES.get(str(tls), "") if error.code == "tls_failed" else ""
        self.stage(name, False, error.message, remedy or REMEDIES.get(error.code, ""), error.code)

    def run(self) -> ConnectionReport:
        steps: tuple[Callable[[], bool], ...] = (
            self.reach,
            self.version,
            self.sign_in,
            self.rights,
            self.bearer,
        )
        for step in steps:
            if not step():
                break
        else:
            self.speed()
        return ConnectionReport(stages=tuple(self.stages), **self.facts)

    def reach(self) -> bool:
        client = self.client
        try:
            client.send_plain("GET", "/health", anonymous=True)
        except SupersetUnreachable as exc:
            self.failed("tls" if exc.code == "tls_failed" else "reached", exc)
            return False
        self.stage("reached", True, f"{client.url} answers.")
        if client.url.startswith("https:"):
            self.stage("tls", True, "The connection is encrypted and the certificate is good.")
        else:
            self.stage(
                "tls",
                None,
                "The connection is not encrypted (http).",
                "Use https where passwords travel far.",
            )
        return True

    def version(self) -> bool:
        client = self.client
        client._capabilities = None
        try:
            found = client.detect()
        except SupersetError as exc:
            self.failed("superset", exc)
            return False
        self.facts |= {"version": found.version, "capabilities": found}
        self.stage("superset", True, f"It is Superset {found.version}.")
        tested = ", ".join(TESTED)
        if not found.supported:
            self.stage(
                "version",
                False,
                f"Superset {found.version} is older than what ss-tools can work with.",
                f"Upgrade it; tested are {tested}.",
                "unsupported_version",
            )
            return False
        if found.tested:
            self.stage("version", True, "This version is tested.")
        else:
            self.stage(
                "version",
                None,
                f"Version {found.version} is outside of the tested range ({tested}).",
                "Try it on a copy.",
            )
        return True

    def sign_in(self) -> bool:
        client = self.client
        try:
            # Superset's CSRF token is the cheapest thing that only a signed-in account gets, and writes need it anyway.
            client._forget_csrf()
            client._csrf_header(needed=True)
        except SupersetError as exc:
            if exc.code != "forbidden":
                self.failed("superset" if exc.code == "not_superset" else "signed_in", exc)
                return False
            self.may_get_csrf = False  # signed in, and good for reading at most
        self.facts["user"] = client.auth.who
        self.stage("signed_in", True, f"Signed in as {client.auth.who}.")
        return True

    # -- rights ------------------------------------------------------------------------------------

    def rights(self) -> bool:
        try:
            held, admin, name = self._held_rights()
        except SupersetError as exc:
            self.failed("rights", exc)
            return False
        if name:
            self.facts["user"] = name
        target = (*TARGET_RIGHTS, *((ASSETS_IMPORT,) if self.client.capabilities.sparse_import else ()))
        missing_source = [right for right in SOURCE_RIGHTS if right not in held]
        missing_target = [right for right in target if right not in held]
        if not self.may_get_csrf and CSRF_RIGHT not in missing_target:
            missing_target.append(CSRF_RIGHT)
        missing = tuple(f"{verb} on {view}" for verb, view in (*missing_source, *missing_target))
        self.facts |= {
            "is_admin": admin,
            "missing_rights": missing,
            "can_be_source": not missing_source,
            "can_be_target": not missing_source and not missing_target,
        }
        give_admin = (
            "Give the account the Admin role in Superset: below it, lists are filtered without a word."
        )
        if missing_source:
            self.stage("rights", False, f"The account lacks {', '.join(missing)}.", give_admin, "forbidden")
            return False
        if missing_target:
            text = f"The account can read and export, but as a target it lacks {', '.join(missing)}."
            self.stage("rights", None, text, give_admin, "forbidden")
        elif admin is False:
            text = "The account has the rights, but is no Admin: assets of others may be invisible or not writable."
            self.stage("rights", None, text, give_admin)
        else:
            self.stage("rights", True, "The account has every right a migration needs.")
        return True

    def _held_rights(self) -> tuple[set[tuple[str, str]], bool | None, str]:
        """(permissions, whether admin, name). From 6.1 on one request tells; before, each API is asked for its own."""
        client = self.client
        told = _own_roles(client)
        if told is not None:
            result, held = told
            names = (result.get("firstName"), result.get("lastName"))
            return (
                held,
                _is_admin_by(result["roles"], held),
                " ".join(str(name) for name in names if name) or str(result.get("username") or ""),
            )
        held = set()
        for kind, view in ASSETS.items():
            info = client._request(
                "GET",
                f"/api/v1/{kind}/_info",
                q={"keys": ["permissions"]},
                checked=False,
            )
            body = info.json if info.status == 200 and isinstance(info.json, dict) else {}
            held |= {(str(permission), view) for permission in body.get("permissions") or ()}
        if client.capabilities.sparse_import and self.may_get_csrf and self._may_import_assets():
            held.add(ASSETS_IMPORT)
        return held, _may_read_the_log(client), ""

    def _may_import_assets(self) -> bool:
        """An import without a file is refused before it does anything: 400 with the right, 403 without (S6.0)."""
        answer = self.client._request("POST", "/api/v1/assets/import/", form={"sparse": "true"}, writes=False,
                                      retries=0, checked=False)  # fmt: skip
        return answer.status == 400

    def bearer(self) -> bool:
        """Whether lists are open to everybody: then the token is not even looked at (superset-api.md 2.6)."""
        client = self.client
        open_lists = []
        counts = {}
        for kind in ASSETS:
            try:
                counts[kind] = client.count(kind)
                if client.auth.is_bearer and _is_open_to_all(client, kind):
                    open_lists.append(kind)
            except SupersetError as exc:
                self.failed("bearer", exc)
                return False
        self.facts |= {"counts": counts, "bearer_ignored": tuple(open_lists)}
        if open_lists:
            names = ", ".join(f"{kind}s" for kind in open_lists)
            self.facts |= {"can_be_source": False, "can_be_target": False}
            self.stage(
                "bearer",
                False,
                f"The Public role may read {names}, so Superset ignores who is asking and shows what Public sees.",
                "Choose sign-in by session (user and password), or take can_read on these from the Public role.",
                "bearer_ignored",
            )
            return False
        found = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
        self.stage("bearer", True, f"The account sees {found}.")
        return True

    def speed(self) -> None:
        seconds = sorted(
            record.seconds for record in list(self.client.log)[-12:] if record.status is not None
        )
        if not seconds:
            return
        median = seconds[len(seconds) // 2]
        self.facts["latency_ms"] = round(median * 1000, 1)
        if median > SLOW_SECONDS:
            text = f"It is slow: small answers take {median:.1f} s."
            self.stage(
                "speed",
                None,
                text,
                "Large migrations will take long; look at its load and at the line.",
                "slow",
            )


def is_admin(client: SupersetClient) -> bool | None:
    """Whether the account sees all there is: below Admin, lists and exports are filtered without a word. None where it
    cannot be found out. One request from 6.1 on, two before; of an Admin with a token one more for each kind of
    asset, as `open_lists` says. Raises SupersetUnreachable.
    """
    told = _own_roles(client)
    admin = _may_read_the_log(client) if told is None else _is_admin_by(told[0]["roles"], told[1])
    return False if admin and open_lists(client) else admin


def open_lists(client: SupersetClient) -> list[str]:
    """Kinds of assets whose lists everybody may read: of these Superset looks at no token, and shows whoever asks what
    Public sees (superset-api.md 2.6). Sign-in by session is not concerned. A request each. Raises SupersetUnreachable.
    """
    if not client.auth.is_bearer:
        return []
    return [kind for kind in ASSETS if _is_open_to_all(client, kind)]


def _is_open_to_all(client: SupersetClient, kind: str) -> bool:
    path = f"/api/v1/{kind}/?q=(page_size:1,columns:!(id))"
    return client.send_plain("GET", path, anonymous=True).status == 200


def _own_roles(client: SupersetClient) -> tuple[Mapping[str, Any], set[tuple[str, str]]] | None:
    """What 6.1 and later say of the account, and its permissions; None before, and where nobody is signed in."""
    answer = client._request("GET", "/api/v1/me/roles/", checked=False)
    result = answer.json.get("result") if answer.status == 200 and isinstance(answer.json, dict) else None
    roles = result.get("roles") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(roles, dict) or result.get("isAnonymous"):
        return None
    rights = {(str(right[0]), str(right[1])) for each in roles.values() for right in each if len(right) == 2}
    return result, rights


def _is_admin_by(roles: Mapping[str, Any], held: Collection[tuple[str, str]]) -> bool:
    # The Admin role may bear another name (AUTH_ROLE_ADMIN); only it may read users and the action log.
    return "Admin" in roles or (("can_read", "Log") in held and ("can_read", "SecurityRestApi") in held)


def _may_read_the_log(client: SupersetClient) -> bool | None:
    """Before 6.1 nothing tells more of being Admin; None where the log is switched off."""
    log = client._request("GET", "/api/v1/log/", q={"page_size": 1, "columns": ["action"]}, checked=False)
    return {200: True, 403: False}.get(log.status)


_TLS_REMEDIES = {
    "expired": "Renew the certificate of Superset, or of the proxy in front of it.",
    "not_yet_valid": "Set the clocks of both machines.",
    "unknown_ca": "Give the file of the authority that signed its certificate as CA file.",
    "hostname_mismatch": "Use the name that stands in the certificate as address.",
    "not_tls": "Use http://, or the port on which it speaks TLS.",
}


def check_connection(client: SupersetClient) -> ConnectionReport:
    """A person is waiting: nothing is repeated, and an answer that takes long counts as none."""
    patience = client._read_timeout, client._most_retries
    client._read_timeout, client._most_retries = min(client._read_timeout, CHECK_TIMEOUT), 0
    try:
        return _Test(client).run()
    finally:
        client._read_timeout, client._most_retries = patience
