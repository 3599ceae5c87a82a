"""The client on real sockets: TLS and its failures, a proxy, servers that stop in the middle. No Superset needed."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from environments.superset.auth import PasswordAuth, TokenAuth
from environments.superset.client import SupersetClient
from environments.superset.errors import AmbiguousWrite, SupersetError, SupersetRefused, SupersetUnreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "


def answer(body: bytes) -> bytes:
    return OK + str(len(body)).encode() + b"\r\n\r\n" + body


class Server:
    """Accepts connections on 127.0.0.1, reads one request from each and hands it to `act`."""

    def __init__(
        self, act: Callable[[socket.socket, bytes], None], context: ssl.SSLContext | None = None
    ) -> None:
        self.act, self.context = act, context
        self.heard: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                line, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            with self.context.wrap_socket(line, server_side=True) if self.context else line as talk:
                talk.settimeout(10)
                data = b""
                while b"\r\n\r\n" not in data:
                    part = talk.recv(65536)
                    if not part:
                        return
                    data += part
                    if data.startswith(b"\x16"):  # TLS on a port that has none: web servers answer so
                        talk.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                        return
                head, _, body = data.partition(b"\r\n\r\n")
                sizes = [row for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")]
                length = int(sizes[0].split(b":")[1]) if sizes else 0
                while len(body) < length:
                    body += talk.recv(65536)
                self.heard.append(head + b"\r\n\r\n" + body)
                self.act(talk, head)
        except (OSError, ssl.SSLError):
            return

    def close(self) -> None:
        self.listening.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(act: Callable[[socket.socket, bytes], None], context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(act, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def says(body: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda talk, head: talk.sendall(answer(body))


def list_of(url: str, **options: object) -> list[object]:
    client = SupersetClient(url, TokenAuth("sst_secret-key"), connect_timeout=2, read_timeout=1, **options)  # type: ignore[arg-type]
    client._sleep = lambda seconds: None
    with client:
        return list(client.list_charts())


def failure(url: str, **options: object) -> SupersetError:
    with pytest.raises(SupersetError) as caught:
        list_of(url, **options)
    return caught.value


EMPTY_LIST = b'{"count": 0, "ids": [], "result": []}'


# -- TLS ---------------------------------------------------------------------------------------------


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def test_a_certificate_of_an_own_authority_works_with_its_ca_file(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(says(EMPTY_LIST), server_context(ca.issue_cert("localhost")))
    assert list_of(f"https://localhost:{server.port}", ca_file=str(tmp_path / "ca.pem")) == []


def test_tls_failures_are_told_apart(serve: Callable[..., Server], tmp_path: Path) -> None:
    ca = trustme.CA()
    ca_file = str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(ca_file)
    past, future = datetime.now(UTC) - timedelta(days=2), datetime.now(UTC) + timedelta(days=2)
    expired = serve(says(EMPTY_LIST), server_context(ca.issue_cert("localhost", not_after=past)))
    early = serve(says(EMPTY_LIST), server_context(ca.issue_cert("localhost", not_before=future)))
    other = serve(says(EMPTY_LIST), server_context(ca.issue_cert("other.test")))
    good = serve(says(EMPTY_LIST), server_context(ca.issue_cert("localhost")))
    plain = serve(says(EMPTY_LIST))
    for port, options, kind in (
        (expired.port, {"ca_file": ca_file}, "expired"),
        (early.port, {"ca_file": ca_file}, "not_yet_valid"),
        (other.port, {"ca_file": ca_file}, "hostname_mismatch"),
        (good.port, {}, "unknown_ca"),
        (plain.port, {"ca_file": ca_file}, "not_tls"),
    ):
        error = failure(f"https://localhost:{port}", **options)
        assert isinstance(error, SupersetUnreachable)
        assert (error.code, error.detail.get("tls")) == ("tls_failed", kind), error.message
        report = SupersetClient(f"https://localhost:{port}", TokenAuth("x"), **options).check()  # type: ignore[arg-type]
        assert report.problem is not None
        assert (report.problem.name, report.problem.code) == ("tls", "tls_failed")
        assert report.problem.remedy


def test_no_request_leaves_before_the_certificate_is_good(serve: Callable[..., Server]) -> None:
    server = serve(says(EMPTY_LIST), server_context(trustme.CA().issue_cert("localhost")))
    failure(f"https://localhost:{server.port}")
    assert server.heard == []


def test_a_ca_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("hello")
    for path in ("bad.pem", "missing.pem"):
        with pytest.raises(SupersetRefused, match="cannot be used"):
            SupersetClient("https://localhost", TokenAuth("x"), ca_file=str(tmp_path / path))


def test_the_environment_changes_nothing(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(says(EMPTY_LIST))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert list_of(f"http://127.0.0.1:{server.port}") == []


# -- lines that break --------------------------------------------------------------------------------


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}")
    assert error.code == "connection_refused"
    assert str(port) in error.message


def test_ipv6_addresses_are_understood() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as reserved:
            port = reserved.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert failure(f"http://[::1]:{port}").code == "connection_refused"


def test_a_server_that_never_answers(serve: Callable[..., Server]) -> None:
    server = serve(lambda talk, head: time.sleep(4))
    started = time.monotonic()
    assert failure(f"http://127.0.0.1:{server.port}").code == "timeout"
    assert time.monotonic() - started < 4
    assert len(server.heard) == 2  # once repeated


@pytest.mark.parametrize(
    "cut",
    [
        answer(EMPTY_LIST)[:-5],
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cou',
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_an_answer_that_stops_in_the_middle_is_never_taken_for_one(
    serve: Callable[..., Server], cut: bytes
) -> None:
    server = serve(lambda talk, head: talk.sendall(cut))
    assert failure(f"http://127.0.0.1:{server.port}").code == "connection_lost"
    assert len(server.heard) == 4


def test_a_write_on_a_line_that_breaks_is_sent_once_and_ambiguous(serve: Callable[..., Server]) -> None:
    def act(talk: socket.socket, head: bytes) -> None:
        if head.startswith(b"GET"):
            talk.sendall(answer(b'{"result": "csrf"}'))
        # a PUT: the line is closed without an answer

    server = serve(act)
    client = SupersetClient(f"http://127.0.0.1:{server.port}", TokenAuth("sst_secret-key"))
    client._sleep = lambda seconds: None
    with client, pytest.raises(AmbiguousWrite):
        client.update("chart", 1, {"slice_name": "x"})
    assert sum(request.startswith(b"PUT") for request in server.heard) == 1


@pytest.mark.parametrize("end", ["close", "reset", "silence"])
@pytest.mark.parametrize("after", [0, 100_000], ids=["head", "part"])
def test_a_line_that_breaks_before_all_was_sent_proves_that_nothing_was_taken(after: int, end: str) -> None:
    """A server that has read the head, or a part of the body, and goes: what it lacks no timeout has to wait for."""
    listening = socket.create_server(("127.0.0.1", 0))
    heard: list[int] = []
    gone = threading.Event()

    def run() -> None:
        while True:
            try:
                talk, _ = listening.accept()
            except OSError:
                return
            with talk:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += talk.recv(4096)
                if data.startswith(b"GET"):
                    talk.sendall(answer(b'{"result": "csrf"}'))
                    continue
                body = data.partition(b"\r\n\r\n")[2]
                while len(body) < after:
                    body += talk.recv(4096)
                heard.append(len(body))
                if end == "reset":
                    talk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif end == "silence":
                    gone.wait(20)

    threading.Thread(target=run, daemon=True).start()
    client = SupersetClient(
        f"http://127.0.0.1:{listening.getsockname()[1]}",
        TokenAuth("sst_secret-key"),
        read_timeout=1,
    )
    client._sleep = lambda seconds: None
    bundle = b"x" * 30_000_000  # more than the buffers of both ends take
    files = {"bundle": ("assets.zip", bundle, "application/zip")}
    try:
        with client, pytest.raises(SupersetUnreachable) as caught:
            client._request("POST", "/api/v1/assets/import/", files=files, timeout=1)
    finally:
        gone.set()
        listening.close()
    assert not isinstance(caught.value, AmbiguousWrite)
    assert caught.value.code == ("timeout" if end == "silence" else "connection_lost")
    assert caught.value.written is False
    assert "only a part" in caught.value.message
    assert len(heard) == (1 if end == "silence" else 3)  # so it is sent again without harm
    assert max(heard) < len(bundle)


# -- proxy -------------------------------------------------------------------------------------------


def test_a_proxy_is_used_when_given(serve: Callable[..., Server]) -> None:
    proxy = serve(says(EMPTY_LIST))
    assert list_of("http://superset.invalid", proxy=f"http://127.0.0.1:{proxy.port}") == []
    assert proxy.heard[0].startswith(b"GET http://superset.invalid/api/v1/chart/")


def test_a_proxy_that_fails_is_named_without_its_password(serve: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        gone = reserved.getsockname()[1]
    dead = failure("http://superset.invalid", proxy=f"http://me:hunter22@127.0.0.1:{gone}")
    refusing = serve(lambda talk, head: talk.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"))
    refused = failure("https://superset.invalid", proxy=f"http://me:hunter22@127.0.0.1:{refusing.port}")
    for error in (dead, refused):
        assert error.code == "proxy_failed"
        assert "127.0.0.1" in error.message
        assert "hunter22" not in f"{error} {error!r} {error.detail} {error.__cause__}"


def test_the_password_of_a_user_goes_into_the_body_of_the_sign_in_and_nowhere_else(
    serve: Callable[..., Server],
) -> None:
    server = serve(says(b'{"access_token": "t.t.t"}'))
    client = SupersetClient(f"http://127.0.0.1:{server.port}", PasswordAuth("ada", "Pa55-word!"))
    with client, pytest.raises(SupersetRefused):
        client.list_charts()
    assert [b"Pa55-word!" in request for request in server.heard] == [True, False]
    assert b"Pa55-word!" not in server.heard[0].partition(b"\r\n\r\n")[0]
