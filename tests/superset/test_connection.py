"""The connection test: every failure told apart, with its remedy."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from environments.superset.auth import PasswordAuth, SessionAuth, TokenAuth
from environments.superset.client import SupersetClient
from tests.fakes.superset import FakeSuperset
from tests.superset.helpers import client_of, estate


def test_a_good_connection_tells_what_it_found() -> None:
    report = client_of(estate()).check()
    assert report.ok
    assert report.problem is None
    assert (report.version, report.user, report.is_admin) == ("6.1.0", "Ada Admin", True)
    assert report.counts == {"dashboard": 1, "chart": 2, "dataset": 1, "database": 1}
    assert (report.missing_rights, report.bearer_ignored) == ((), ())
    assert (report.can_be_source, report.can_be_target) == (True, True)
    assert report.latency_ms is not None
    assert [stage.name for stage in report.stages] == [
        "reached", "tls", "superset", "version", "signed_in", "rights", "bearer",
    ]  # fmt: skip
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


@pytest.mark.parametrize("version", ["4.1.4", "5.0.0", "6.0.0"])
def test_before_6_1_the_rights_are_asked_of_each_api(version: str) -> None:
    report = client_of(estate(version)).check()
    assert report.ok
    assert report.is_admin is True
    assert report.can_be_target


def test_testing_changes_nothing() -> None:
    for version in ("4.1.4", "6.0.0", "6.1.0"):
        fake = estate(version)
        before = fake.state()
        client_of(fake).check()
        assert fake.state() == before


def test_a_client_still_works_after_the_test_as_before() -> None:
    fake = estate()
    client = client_of(fake)
    client.check()
    fake.misbehave("GET", "/api/v1/chart/", "reset", times=3)
    assert len(client.list_charts()) == 2  # patience is back
    client.update("chart", 3, {"slice_name": "x"})


def failing(fault: Any, path: str = "/", method: str = "GET", **options: Any) -> Any:
    fake = estate()
    fake.misbehave(method, path, fault, times=None)
    return client_of(fake, **options).check()


@pytest.mark.parametrize(
    ("method", "path", "fault", "stage", "code", "words"),
    [
        ("GET", "/health", "refused", "reached", "connection_refused", "Is Superset running there"),
        ("GET", "/health", "timeout", "reached", "timeout", "did not answer in time"),
        ("GET", "/health", "reset", "reached", "connection_lost", "broke"),
        ("GET", "/", "html_200", "superset", "not_superset", "Welcome to nginx!"),
        ("GET", "/", httpx.Response(200, json={"a": 1}), "superset", "not_superset", "not Superset's"),
        ("GET", "/", httpx.Response(301, headers={"location": "https://superset.test/"}), "superset", "not_superset",
         "https://superset.test"),
        ("GET", "/", httpx.Response(302, headers={"location": "https://sso.corp.test/"}), "superset", "not_superset",
         "https://sso.corp.test"),
        ("POST", "/api/v1/security/login", "html_200", "superset", "not_superset", "Is this a Superset?"),
        ("POST", "/api/v1/security/login", httpx.Response(500, json={"message": "db is down"}), "signed_in", "invalid",
         "db is down"),
        ("POST", "/api/v1/security/login", httpx.Response(503, html="<h1>Back soon</h1>"), "signed_in", "server_error",
         "status 503"),
        ("GET", "/api/v1/security/csrf_token/", "html_500", "signed_in", "server_error", "status 500"),
    ],
)  # fmt: skip
def test_each_failure_has_its_own_name_words_and_remedy(
    method: str, path: str, fault: Any, stage: str, code: str, words: str
) -> None:
    report = failing(fault, path, method)
    assert not report.ok
    assert (report.problem.name, report.problem.code) == (stage, code)
    assert words in report.problem.text
    if code != "invalid":
        assert report.problem.remedy
    assert report.stages[-1] is report.problem  # nothing is tried beyond


def test_wrong_password_expired_token_and_wrong_provider() -> None:
    fake = estate()
    wrong = client_of(fake, PasswordAuth("admin", "no")).check()
    assert (wrong.problem.name, wrong.problem.code) == ("signed_in", "unauthorized")  # type: ignore[union-attr]
    expired = client_of(fake, TokenAuth("sst_unknown-key")).check()
    assert (expired.problem.name, expired.problem.code) == ("signed_in", "unauthorized")  # type: ignore[union-attr]
    fake.auth_type = 2
    provider = client_of(fake).check()
    assert provider.problem is not None
    assert provider.problem.code == "login_provider"
    assert "ldap" in provider.problem.text
    session = client_of(fake, SessionAuth("admin", "no")).check()
    assert session.problem is not None
    assert session.problem.code == "unauthorized"


def test_an_account_without_rights_is_told_which_ones() -> None:
    fake = estate()
    fake.role = "Gamma"
    report = client_of(fake).check()
    assert not report.ok
    assert report.is_admin is False
    assert "can_export on Dataset" in report.missing_rights
    assert "can_write on Dashboard" in report.missing_rights
    assert "can_import_ on ImportExportRestApi" in report.missing_rights
    assert report.problem is not None
    assert "can_export on Dataset" in report.problem.text
    assert "Admin" in report.problem.remedy
    assert not report.can_be_source


@pytest.mark.parametrize("version", ["6.0.0", "6.1.0"])
def test_an_account_that_can_read_but_not_write_is_a_source_only(version: str) -> None:
    fake = estate(version)
    fake.role = "Alpha"
    report = client_of(fake).check()
    assert report.missing_rights == ("can_write on Database",)
    assert (report.can_be_source, report.can_be_target) == (True, False)
    assert report.ok  # as a source it is good; the stage warns
    rights = next(stage for stage in report.stages if stage.name == "rights")
    assert rights.ok is None
    assert "as a target" in rights.text


@pytest.mark.parametrize("version", ["4.1.4", "6.0.0", "6.1.0"])
def test_a_role_that_may_not_get_a_csrf_token_is_signed_in_and_can_only_read(version: str) -> None:
    fake = estate(version)
    fake.role = "Reader"
    report = client_of(fake).check()
    assert report.ok
    assert (report.can_be_source, report.can_be_target) == (True, False)
    assert "can_read on SecurityRestApi" in report.missing_rights
    assert next(stage for stage in report.stages if stage.name == "signed_in").ok


def test_lists_open_to_everybody_are_found_because_the_token_is_not_even_read_there() -> None:
    fake = estate()
    fake.public_may_read = True
    report = client_of(fake).check()
    assert not report.ok
    assert report.problem is not None
    assert report.problem.code == "bearer_ignored"
    assert report.bearer_ignored == ("dashboard", "chart", "dataset", "database")
    assert "session" in report.problem.remedy
    assert not report.can_be_source
    assert client_of(fake).list_charts() == []  # the trap: an admin sees nothing, status 200
    with_session = client_of(fake, SessionAuth("admin", "admin"))
    assert with_session.check().ok
    assert len(with_session.list_charts()) == 2


def test_a_version_that_was_never_tested_is_a_warning_and_a_too_old_one_an_end() -> None:
    newer = client_of(estate("7.0.0")).check()
    assert newer.ok
    assert next(stage for stage in newer.stages if stage.name == "version").ok is None
    older = client_of(estate("3.1.2")).check()
    assert older.problem is not None
    assert older.problem.code == "unsupported_version"
    assert "6.1.0" in older.problem.remedy


def test_a_slow_superset_is_said_to_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("environments.superset.connection.SLOW_SECONDS", 0.0)
    report = client_of(estate()).check()
    assert report.ok
    assert report.stages[-1].code == "slow"


def test_a_test_does_not_wait_and_repeat() -> None:
    fake = estate()
    fake.misbehave("GET", "/health", "timeout", times=None)
    client = client_of(fake)
    client.check()
    assert client.waits == []  # type: ignore[attr-defined]
    assert len(fake.requests) == 1


def test_no_name_is_told_apart_from_no_server() -> None:
    report = SupersetClient("http://no-such-host.invalid", PasswordAuth("a", "b")).check()
    assert report.problem is not None
    assert report.problem.code == "name_not_resolved"
    assert "no-such-host.invalid" in report.problem.text


def test_the_report_holds_no_secret() -> None:
    fake = FakeSuperset()
    fake.users["admin"] = "Pa55-word!"
    for path in ("/health", "/api/v1/me/roles/", "/api/v1/dashboard/"):
        fake.misbehave(
            "GET", path, httpx.Response(500, json={"message": "Pa55-word! at http://u:hunter22@x"})
        )
        text = json.dumps(client_of(fake, PasswordAuth("admin", "Pa55-word!")).check().to_dict())
        assert "Pa55-word!" not in text
        assert "hunter22" not in text
