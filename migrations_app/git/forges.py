"""Pull requests and commit statuses by the API of GitHub, GitLab and Gitea, through the one guarded HTTP client.

Paths, fields and answers are those of the three documentations: GitHub REST (2022-11-28), GitLab REST v4, Gitea v1.
Nothing here touches the database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from environments.words import clean
from sstools import outbound
from sstools.errors import Invalid, NotAllowed, SSToolsError, Unavailable

from .models import Forge, Repository

NAMES = {Forge.GITHUB: "GitHub", Forge.GITLAB: "GitLab", Forge.GITEA: "Gitea"}
#: Ours -> what each calls the state of a commit.
STATES = {
    Forge.GITHUB: {"pending": "pending", "success": "success", "failure": "failure"},
    Forge.GITLAB: {"pending": "pending", "success": "success", "failure": "failed"},
    Forge.GITEA: {"pending": "pending", "success": "success", "failure": "failure"},
}
#: GitHub takes 65,536 characters of text and 140 of a status.
MOST_TEXT, MOST_STATUS, MOST_TITLE = 60_000, 140, 200


class ForgeRefused(Invalid):
    """It understood, and said no."""

    code = "forge_refused"


class ForgeSignIn(Invalid):
    code = "forge_sign_in"
    remedy = (
        "Enter a token for its API on the repository's page, one that may write pull requests and statuses."
    )


class ForgeForbidden(NotAllowed):
    code = "forge_forbidden"
    remedy = "Give the token the right to write pull requests and commit statuses of this repository."


class ForgeNotFound(Invalid):
    code = "forge_not_found"
    remedy = "Check the repository's address, the address of the API, and what the token may see."


class ForgeUnavailable(Unavailable):
    code = "forge_unavailable"


class _Taken(SSToolsError):
    """There is an open one for these branches."""


@dataclass(frozen=True)
class Pull:
    """A pull or merge request: its number in the repository, and its page."""

    number: int
    url: str
    is_new: bool = True


@dataclass(frozen=True)
class Address:
    """`api`: of all calls, without a slash at its end. `path`: of the repository on the forge, "team/bi"."""

    kind: Forge
    api: str
    path: str
    token: str

    @property
    def project(self) -> str:
        """Of the repository, below `api`."""
        if self.kind == Forge.GITLAB:
            return f"/projects/{quote(self.path, safe='')}"
        return f"/repos/{quote(self.path)}"


def guess(url: str) -> str:
    """Whose API a repository's address suggests; "" where it does not say."""
    host = (urlsplit(url).hostname or "").casefold()
    if host == "github.com" or host.startswith("github."):
        return Forge.GITHUB
    if "gitlab" in host:
        return Forge.GITLAB
    return Forge.GITEA if host == "codeberg.org" or "gitea" in host or "forgejo" in host else ""


def api_of(kind: str, url: str, forge_url: str = "") -> str:
    """Where the API is: as entered, else where the forge has it by default beside the repository."""
    if forge_url:
        return forge_url.rstrip("/")
    parts = urlsplit(url)
    if not kind or parts.scheme not in ("https", "http", "ssh") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port and parts.scheme != "ssh" else ""
    if kind == Forge.GITHUB and host == "github.com":
        return "https://api.github.com"
    scheme = "http" if parts.scheme == "http" else "https"
    ends = {Forge.GITHUB: "/api/v3", Forge.GITLAB: "/api/v4", Forge.GITEA: "/api/v1"}
    return f"{scheme}://{host}{port}{ends[Forge(kind)]}"


def kind_of(repository: Repository) -> str:
    return repository.forge or guess(repository.url)


def address_of(repository: Repository) -> Address:
    """Raises Invalid("forge_unknown", "forge_no_token")."""
    kind = kind_of(repository)
    api = api_of(kind, repository.url, repository.forge_url)
    if not kind or not api:
        raise Invalid(
            f"It is not known on which forge {repository} is.",
            code="forge_unknown",
            remedy="Choose GitHub, GitLab or Gitea on its page, and enter the address of the API.",
        )
    token = str(repository.forge_secret or ("" if repository.is_ssh else repository.secret) or "")
    if not token:
        raise Invalid(
            f"There is no token for the API of {repository}.",
            code="forge_no_token",
            remedy="Enter one on its page: a key for ssh opens no pull requests.",
        )
    path = urlsplit(repository.url).path.strip("/").removesuffix(".git")
    return Address(Forge(kind), api, path, token)


def open_pull(address: Address, *, branch: str, into: str, title: str, text: str) -> Pull:
    """A pull request of `branch` into `into`; one that is open already is that, with `is_new` False.

    Raises ForgeSignIn, ForgeForbidden, ForgeNotFound, ForgeRefused, ForgeUnavailable, AddressRefused, NoAnswer.
    """
    title, text = clean(title, MOST_TITLE), clean(text, MOST_TEXT)
    try:
        if address.kind == Forge.GITLAB:
            body = {"source_branch": branch, "target_branch": into, "title": title, "description": text}
            found = _call(address, "POST", "/merge_requests", body=body)
        else:
            found = _call(
                address, "POST", "/pulls", body={"head": branch, "base": into, "title": title, "body": text}
            )
    except _Taken:
        if (known := find_pull(address, branch=branch, into=into)) is None:
            raise ForgeRefused(
                f"{NAMES[address.kind]} says that there is a request for {branch} already, and shows none.",
                remedy="Look for it there.",
            ) from None
        return known
    return _pull(address, found)


def find_pull(address: Address, *, branch: str, into: str) -> Pull | None:
    """The open one of a branch into another. Raises as `open_pull`."""
    if address.kind == Forge.GITLAB:
        asked = {"state": "opened", "source_branch": branch, "target_branch": into}
        rows = _call(address, "GET", "/merge_requests", params=asked)
    elif address.kind == Forge.GITHUB:
        asked = {"state": "open", "base": into, "head": f"{address.path.split('/')[0]}:{branch}"}
        rows = _call(address, "GET", "/pulls", params=asked)
    else:
        rows = _call(address, "GET", "/pulls", params={"state": "open", "limit": "50", "sort": "newest"})
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        ends = (
            (row.get("source_branch"), row.get("target_branch"))
            if address.kind == Forge.GITLAB
            else tuple((row.get(side) or {}).get("ref") for side in ("head", "base"))
        )
        if ends == (branch, into):
            return _pull(address, row, is_new=False)
    return None


def post_status(address: Address, sha: str, state: str, *, text: str, url: str, context: str) -> None:
    """What is said of a commit: `state` one of pending, success, failure. Raises as `open_pull`."""
    named = STATES[address.kind][state]
    body = {"state": named, "description": clean(text, MOST_STATUS)}
    body |= {"target_url": url} if url else {}
    # GitLab calls it a name, and takes the other word too where it is asked for statuses.
    body["name" if address.kind == Forge.GITLAB else "context"] = context
    with suppress(_Taken):  # GitLab: it is in that state already
        _call(address, "POST", f"/statuses/{sha}", body=body)


def _pull(address: Address, row: Any, *, is_new: bool = True) -> Pull:
    number = row.get("iid" if address.kind == Forge.GITLAB else "number") if isinstance(row, dict) else None
    url = (
        row.get("web_url" if address.kind == Forge.GITLAB else "html_url") if isinstance(row, dict) else None
    )
    if not isinstance(number, int) or not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise ForgeUnavailable(
            f"{NAMES[address.kind]} answered something that is not of its API.",
            remedy="Check the address of the API, and look on the forge whether the request is there.",
        )
    return Pull(number, clean(url, 1000), is_new)


def _headers(address: Address) -> dict[str, str]:
    if address.kind == Forge.GITLAB:
        return {"Authorization": f"Bearer {address.token}", "Accept": "application/json"}
    if address.kind == Forge.GITEA:
        return {"Authorization": f"token {address.token}", "Accept": "application/json"}
    return {
        "Authorization": f"Bearer {address.token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }


def _call(
    address: Address,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, str] | None = None,
) -> Any:
    """The answer's JSON. What went wrong is told apart by status and words."""
    name = NAMES[address.kind]
    headers = {**_headers(address), "User-Agent": "ss-tools"}
    try:
        with (
            outbound.client(headers=headers) as http,
            http.stream(method, f"{address.api}{address.project}{path}", json=body, params=params) as answer,
        ):
            content = b""
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > outbound.MOST_BYTES:
                    raise ForgeUnavailable(f"{name} answers more than is read of it.")
            status, left = answer.status_code, answer.headers.get("x-ratelimit-remaining", "")
    except httpx.TimeoutException:
        raise outbound.NoAnswer(f"{name} did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = str(error).replace(address.token, "***")[:200]
        raise outbound.NoAnswer(f"{name} cannot be reached: {said}") from None
    try:
        found = json.loads(content) if content else None
    except ValueError:
        found = None
    if status < 300:
        return found
    raise _refusal(address, status, found, is_spent=left == "0")


def _refusal(address: Address, status: int, found: Any, *, is_spent: bool) -> SSToolsError:
    name, said = NAMES[address.kind], _said(found, address.token)
    words = said.casefold()
    what = f"{name} says: {said}" if said else f"{name} answered {status}."
    if "already exist" in words or "cannot transition" in words:
        return _Taken(what)
    if status == 429 or (status == 403 and is_spent):
        return ForgeUnavailable(f"{name} takes no more requests of this token for now.", code="forge_busy")
    if status == 401:
        return ForgeSignIn(f"{name} does not take the token.")
    if status == 403:
        return ForgeForbidden(f"The token may not do that. {what}")
    if status == 404:
        return ForgeNotFound(f"{name} has no {address.path}, or does not show it to this token.")
    if status == 409 and address.kind == Forge.GITEA:
        return _Taken(what)
    if status >= 500 or 300 <= status < 400:
        return ForgeUnavailable(f"{name} answered {status}.")
    return ForgeRefused(what, remedy="Nothing was opened. Mend what it says, then try again.")


def _said(found: Any, token: str) -> str:
    """What a refusal says, out of the forms in which they say it."""
    parts: list[str] = []
    for key in ("message", "error", "errors"):
        value = found.get(key) if isinstance(found, dict) else None
        for one in value if isinstance(value, list) else [value]:
            text = one.get("message") or one.get("code") if isinstance(one, dict) else one
            if isinstance(one, dict) and not text:
                text = "; ".join(f"{field} {words}" for field, words in one.items())
            if text and str(text) not in parts:
                parts.append(str(text))
    return clean(" ".join(parts).replace(token, "***"), 300) if token else clean(" ".join(parts), 300)
