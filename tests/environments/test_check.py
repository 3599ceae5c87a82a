""" "Test": every failure told apart, with its remedy; over real sockets where that is what fails."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from environments import services
from environments.models import CheckState, Environment
from sstools.errors import Invalid
from tests.fakes.superset import FakeSuperset

from .conftest import PASSWORD, fill

pytestmark = pytest.mark.django_db

PAGE = b"<html><title>Welcome to nginx!</title><h1>It works</h1></html>"


class PageServer:
    """Answers every request with one HTML page, as a web server that is no Superset does."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                line, _ = self.listening.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(line, server_side=True) if self.context else line as talk:
                    talk.settimeout(5)
                    talk.recv(65536)
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n"
                    talk.sendall(head.encode() + b"Connection: close\r\n\r\n" + PAGE)
            except (OSError, ssl.SSLError):
                continue


@pytest.fixture
def page_server() -> Iterator[Callable[..., int]]:
    servers: list[PageServer] = []

    def start(certificate: trustme.LeafCert | None = None) -> int:
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
        servers.append(PageServer(context))
        return int(servers[-1].port)

    yield start
    for server in servers:
        server.listening.close()


def registered_and_tested(owner: Any, url: str, **fields: Any) -> Environment:
    values = {"name": "Somewhere", "url": url, "username": "admin", "secret": PASSWORD, **fields}
    environment = services.register_environment(values, actor=owner)
    services.run_check(environment)
    return Environment.objects.get(pk=environment.pk)


def problem(environment: Environment) -> tuple[str, str, str]:
    """(stage, code, how the list shows it) of the failed stage; it has words and a remedy."""
    found = environment.problem
    assert environment.check_state == CheckState.FAILED
    assert found is not None
    assert found["text"]
    assert found["remedy"]
    assert PASSWORD not in str(environment.check_report)
    return found["name"], found["code"], environment.state


# --- over sockets -----------------------------------------------------------------------------------


def test_a_name_that_nobody_knows(owner: Any) -> None:
    assert problem(registered_and_tested(owner, "http://no-such-host.invalid:8088")) == (
        "reached",
        "name_not_resolved",
        "unreachable",
    )


def test_a_port_where_nobody_listens(owner: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert problem(registered_and_tested(owner, f"http://127.0.0.1:{port}")) == (
        "reached",
        "connection_refused",
        "unreachable",
    )


def test_a_certificate_of_an_unknown_authority_and_what_helps(
    owner: Any, page_server: Callable[..., int]
) -> None:
    ca = trustme.CA()
    url = f"https://localhost:{page_server(ca.issue_cert('localhost'))}"
    environment = registered_and_tested(owner, url)
    assert problem(environment) == ("tls", "tls_failed", "unreachable")
    assert "CA file" in environment.problem["remedy"]  # type: ignore[index]
    pem = ca.cert_pem.bytes().decode()
    trusted = services.update_environment(
        environment, {"ca_certificate": pem, "secret": PASSWORD}, actor=owner
    )
    services.run_check(trusted)
    # Now it gets through, and sees that no Superset is there.
    assert problem(Environment.objects.get(pk=environment.pk)) == ("superset", "not_superset", "refused")


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ({"not_after": datetime.now(UTC) - timedelta(days=2)}, "expired"),
        ({"not_before": datetime.now(UTC) + timedelta(days=2)}, "not valid yet"),
        ({"common_name": "x"}, ""),
    ],
)
def test_other_faults_of_certificates_have_words_of_their_own(
    owner: Any, page_server: Callable[..., int], certificate: dict[str, Any], words: str
) -> None:
    ca = trustme.CA()
    names = ["other.test"] if "common_name" in certificate else ["localhost"]
    port = page_server(ca.issue_cert(*names, **certificate))
    environment = registered_and_tested(
        owner, f"https://localhost:{port}", ca_certificate=ca.cert_pem.bytes().decode()
    )
    assert problem(environment)[:2] == ("tls", "tls_failed")
    assert (words or "another name") in environment.problem["text"]  # type: ignore[index]


def test_https_on_a_port_without_tls(owner: Any, page_server: Callable[..., int]) -> None:
    environment = registered_and_tested(owner, f"https://127.0.0.1:{page_server()}")
    assert problem(environment)[1] == "tls_failed"
    assert "http://" in environment.problem["remedy"]  # type: ignore[index]


def test_a_web_server_that_is_no_superset(owner: Any, page_server: Callable[..., int]) -> None:
    environment = registered_and_tested(owner, f"http://127.0.0.1:{page_server()}")
    assert problem(environment) == ("superset", "not_superset", "refused")
    assert "nginx" in environment.problem["text"] or "It works" in environment.problem["text"]  # type: ignore[index]


def test_a_proxy_that_is_not_there(owner: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = registered_and_tested(
        owner, "http://superset.example.org", proxy_url=f"http://127.0.0.1:{port}"
    )
    assert problem(environment)[0] == "reached"
    assert environment.state == "unreachable"


# --- by the fake ------------------------------------------------------------------------------------


def test_all_well(environment: Environment) -> None:
    services.run_check(environment)
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.check_state, fresh.state, fresh.version) == (CheckState.OK, "reached", "6.1.0")
    assert fresh.problem is None
    assert fresh.check_report["can_be_target"]
    assert fresh.known_capabilities is not None
    assert fresh.known_capabilities.sparse_import
    assert fresh.last_reached_at is not None
    assert fresh.latency_ms is not None


def test_a_wrong_password(environment: Environment, superset: FakeSuperset) -> None:
    superset.users = {"admin": "another"}
    services.run_check(environment)
    assert problem(Environment.objects.get(pk=environment.pk)) == ("signed_in", "unauthorized", "refused")


def test_an_expired_token(registered: Callable[..., Environment]) -> None:
    fake = fill(FakeSuperset())
    environment = registered(fake, auth_kind="token", secret="sst_no-longer-good")
    services.run_check(environment)
    assert problem(Environment.objects.get(pk=environment.pk))[:2] == ("signed_in", "unauthorized")


@pytest.mark.parametrize(("role", "state"), [("Gamma", CheckState.FAILED), ("Alpha", CheckState.WARNING)])
def test_an_account_without_the_rights_is_told_which(
    environment: Environment, superset: FakeSuperset, role: str, state: CheckState
) -> None:
    superset.role = role
    services.run_check(environment)
    fresh = Environment.objects.get(pk=environment.pk)
    assert fresh.check_state == state
    assert fresh.check_report["missing_rights"]
    rights = next(stage for stage in fresh.check_report["stages"] if stage["name"] == "rights")
    assert fresh.check_report["missing_rights"][0] in rights["text"]
    assert "Admin" in rights["remedy"]
    assert not fresh.check_report["can_be_target"]


@pytest.mark.parametrize(
    ("version", "state"),
    [("7.2.0", CheckState.WARNING), ("3.1.0", CheckState.FAILED), ("4.1.4", CheckState.OK)],
)
def test_versions_outside_of_the_tested_range(
    registered: Callable[..., Environment], version: str, state: CheckState
) -> None:
    environment = registered(fill(FakeSuperset(version)))
    services.run_check(environment)
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.check_state, fresh.version) == (state, version)
    stage = next(stage for stage in fresh.check_report["stages"] if stage["name"] == "version")
    assert bool(stage["remedy"]) == (state != CheckState.OK)


def test_lists_that_are_open_to_everybody(environment: Environment, superset: FakeSuperset) -> None:
    superset.public_may_read = True
    services.run_check(environment)
    fresh = Environment.objects.get(pk=environment.pk)
    assert problem(fresh) == ("bearer", "bearer_ignored", "refused")
    assert "session" in fresh.problem["remedy"]  # type: ignore[index]


def test_signing_in_by_session_gets_around_that(registered: Callable[..., Environment]) -> None:
    fake = fill(FakeSuperset())
    fake.public_may_read = True
    environment = registered(fake, auth_kind="session")
    assert services.run_check(environment).ok
    assert services.run_reading(environment).counts["chart"] == 6


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("env:SUPERSET_NOT_SET", "credential_missing"),
        ("file:{folder}/absent", "credential_missing"),
        ("file:{folder}/empty", "credential_missing"),
        ("file:{folder}/binary", "credential_missing"),
    ],
)
def test_a_credential_that_is_not_there(
    owner: Any, settings: Any, tmp_path: Any, reference: str, code: str
) -> None:
    settings.CREDENTIAL_FOLDERS = [str(tmp_path)]
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    environment = registered_and_tested(
        owner, "http://127.0.0.1:9", secret="", secret_reference=reference.format(folder=tmp_path)
    )
    assert problem(environment) == ("credentials", code, "refused")


def test_the_test_is_a_job_that_succeeds_whatever_it_finds(
    environment: Environment, superset: FakeSuperset, owner: Any, run_jobs: Callable[[], int]
) -> None:
    superset.users = {}
    job = services.request_check(environment, actor=owner)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.result["state"]) == ("succeeded", "failed")
    assert job.logs.filter(level="error").count() == 1


def test_what_was_tested_meanwhile_under_another_address_is_not_kept(
    environment: Environment, superset: FakeSuperset, owner: Any
) -> None:
    tested_one = Environment.objects.get(pk=environment.pk)
    services.update_environment(
        environment, {"url": "http://elsewhere.test", "secret": PASSWORD}, actor=owner
    )
    services.run_check(tested_one)
    assert Environment.objects.get(pk=environment.pk).check_state == CheckState.UNKNOWN


# --- references -------------------------------------------------------------------------------------


def test_references_are_read_at_each_connection(
    registered: Callable[..., Environment], settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CREDENTIAL_FOLDERS = [str(tmp_path)]
    fake = fill(FakeSuperset())
    file = tmp_path / "dev"
    file.write_text(f"{PASSWORD}\n")
    by_file = registered(fake, "By file", secret="", secret_reference=f"file:{file}")
    monkeypatch.setenv("SUPERSET_DEV", PASSWORD)
    by_variable = registered(fake, "By variable", secret="", secret_reference="env:SUPERSET_DEV")
    assert services.run_check(by_file).ok
    assert services.run_check(by_variable).ok
    file.write_text("changed")
    fake.expire_tokens()
    assert not services.run_check(by_file).ok


@pytest.mark.parametrize(
    "reference",
    [
        "env:SSTOOLS_SECRET_KEY",
        "env:PATH",
        "env:",
        "file:relative",
        "file:/etc/passwd",
        "file:{folder}/../outside",
        "file:{folder}/link",
        "vault:x",
        "plain",
    ],
)
def test_references_cannot_be_used_to_send_other_secrets_of_the_machine_away(
    owner: Any, settings: Any, tmp_path: Any, reference: str
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (tmp_path / "outside").write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside")
    settings.CREDENTIAL_FOLDERS = [str(folder)]
    with pytest.raises(Invalid) as caught:
        registered_and_tested(
            owner, "http://127.0.0.1:9", secret="", secret_reference=reference.format(folder=folder)
        )
    assert "secret_reference" in caught.value.errors


def test_a_secret_of_ss_tools_itself_is_no_credential(
    owner: Any, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CREDENTIAL_FOLDERS = [str(tmp_path)]
    (tmp_path / "field_keys").write_text("x")
    monkeypatch.setenv("SSTOOLS_FIELD_KEYS_FILE", str(tmp_path / "field_keys"))
    with pytest.raises(Invalid) as caught:
        registered_and_tested(
            owner, "http://127.0.0.1:9", secret="", secret_reference=f"file:{tmp_path}/field_keys"
        )
    assert "itself" in str(caught.value.errors["secret_reference"])
