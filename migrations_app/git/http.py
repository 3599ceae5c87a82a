"""Git over HTTPS through the one guarded HTTP client of ss-tools; dulwich's own would follow redirects and proxies."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
from dulwich.client import AbstractHttpGitClient, HTTPUnauthorized
from dulwich.errors import GitProtocolError, NotGitRepository

from sstools import outbound

from .errors import SignInRefused, Unreachable
from .packs import MAX_PACK_BYTES, RepositoryTooLarge

_READ_SECONDS = 60.0  # without a byte: a server may count objects for that long
_MOST_BYTES = MAX_PACK_BYTES + 16 * 2**20  # of one answer: a pack, and what stands around it


class _Answer:
    """A response as dulwich wants it."""

    def __init__(self, response: httpx.Response, deadline: float) -> None:
        self.status = response.status_code
        self.content_type = response.headers.get("Content-Type")
        self.redirect_location = ""
        self._response, self._deadline, self._seen = response, deadline, 0
        self._pieces: Iterator[bytes] = response.iter_bytes(64 * 2**10)
        self._held = b""

    def read(self, size: int | None = None) -> bytes:
        try:
            while size is None or len(self._held) < size:
                piece = next(self._pieces, b"")
                if not piece:
                    break
                self._seen += len(piece)
                if self._seen > _MOST_BYTES:
                    raise RepositoryTooLarge(f"The server sends more than {MAX_PACK_BYTES // 2**20} MiB.")
                if time.monotonic() > self._deadline:
                    raise Unreachable("The server sends too slowly.")
                self._held += piece
        except httpx.TimeoutException:
            raise Unreachable("The server stopped in the middle of its answer.") from None
        except httpx.HTTPError as error:
            raise Unreachable(f"The server's answer broke off: {str(error)[:200]}") from None
        size = len(self._held) if size is None else size
        found, self._held = self._held[:size], self._held[size:]
        return found

    def close(self) -> None:
        self._response.close()


class HttpClient(AbstractHttpGitClient):
    """Signs in with each request, at its own address only, and never follows a redirect."""

    def __init__(self, url: str, username: str, secret: str, deadline: float) -> None:
        super().__init__(url, quiet=True)
        self._deadline = deadline
        self._http = outbound.client()
        self._http.timeout = httpx.Timeout(_READ_SECONDS, connect=outbound.CONNECT_SECONDS)
        self._authorization = ""
        if secret:
            # Forges take a token as the password of any name.
            pair = f"{username or 'git'}:{secret}".encode()
            self._authorization = f"Basic {base64.b64encode(pair).decode()}"

    def _get_url(self, path: str | bytes) -> str:
        return self._base_url

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[Any, Callable[[int], bytes]]:
        if not url.startswith(self._base_url):
            # A server may name other addresses to get parts from (packfile-uris): none of them is ours.
            raise GitProtocolError("the server refers to another address")
        sent = {"User-Agent": "git/ss-tools", "Pragma": "no-cache", **(headers or {})}
        sent.pop("Content-Length", None)  # httpx says it
        if self._authorization:
            sent["Authorization"] = self._authorization
        request = self._http.build_request("GET" if data is None else "POST", url, headers=sent, content=data)
        try:
            response = self._http.send(request, stream=True)
        except httpx.TimeoutException:
            raise Unreachable("The server did not answer in time.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"The server cannot be reached: {str(error)[:200] or type(error).__name__}"
            ) from None
        answer = _Answer(response, self._deadline)
        if response.status_code != 200:
            answer.close()
            if raise_for_status:
                raise _refusal(response, signed=bool(self._authorization))
        return answer, answer.read

    def close(self) -> None:
        self._http.close()


def _refusal(response: httpx.Response, *, signed: bool) -> Exception:
    status = response.status_code
    if status == 401:
        if not signed:
            return SignInRefused("The server wants a token or a password, and none is entered.")
        return HTTPUnauthorized(None, "")
    if status == 403:
        return SignInRefused("The server forbids this to the account (403).")
    if status == 404:
        return NotGitRepository()
    if 300 <= status < 400:
        host = urlsplit(response.headers.get("Location", "")).hostname or "elsewhere"
        return Unreachable(
            f"The address leads on to {host}, and ss-tools follows no redirects with a credential.",
            code="repository_moved",
            remedy="Enter the address that the repository has now.",
        )
    return Unreachable(f"The server answered {status}.")
