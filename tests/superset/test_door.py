"""The one door: what is repeated and what never, tokens, CSRF, and what an error says (and does not)."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from typing import Any

import httpx
import pytest

from environments.superset.answer import RequestRecord
from environments.superset.auth import PasswordAuth, SessionAuth, TokenAuth
from environments.superset.bundle import Bundle
from environments.superset.client import SupersetClient
from environments.superset.errors import (
    AmbiguousWrite,
    SupersetError,
    SupersetRefused,
    SupersetUnreachable,
    redact,
)
from environments.superset.transport import parse_url
from tests.fakes.superset import FakeSuperset
from tests.superset.helpers import client_of, estate

IMPORT = "/api/v1/assets/import/"
RENAMED = "a name that only the import gives"


def was_written(fake: FakeSuperset) -> bool:
    return any(chart["data"]["slice_name"] == RENAMED for chart in fake.assets["chart"].values())


def paths(fake: FakeSuperset, method: str) -> list[str]:
    return [request.url.path for request in fake.requests if request.method == method]


def bundle_for(fake: FakeSuperset) -> Bundle:
    """The dashboard, charts and dataset of the fake, changed, without its connection."""
    bundle = client_of(fake).export_assets()
    assets = [asset for asset in bundle.assets.values() if asset.kind != "database"]
    for asset in assets:
        if asset.kind == "chart":
            asset.data["slice_name"] = RENAMED
    fake.requests.clear()
    return Bundle.from_assets("assets", assets)


# -- reads are repeated ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refused", "reset", "truncated", "html_500", "429", httpx.Response(503)])
def test_a_read_that_fails_once_is_repeated(fault: Any) -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/chart/", fault)
    client = client_of(fake)
    assert len(client.list_charts()) == 2
    assert len(client.waits) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [
        ("refused", "connection_refused", 4),
        ("reset", "connection_lost", 4),
        ("truncated", "connection_lost", 4),
        ("timeout", "timeout", 2),
        ("html_500", "server_error", 2),
        (httpx.Response(502, html="<h1>Bad Gateway</h1>"), "server_error", 4),
        ("429", "rate_limited", 4),
    ],
)
def test_a_read_that_keeps_failing_ends_after_a_few_tries(fault: Any, code: str, tries: int) -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/chart/", fault, times=None)
    with pytest.raises(SupersetUnreachable) as caught:
        client_of(fake).list_charts()
    assert caught.value.code == code
    assert caught.value.written is False
    assert paths(fake, "GET").count("/api/v1/chart/") == tries


def test_waits_grow_and_differ_and_retry_after_is_honoured() -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/chart/", "reset", times=2)
    fake.misbehave("GET", "/api/v1/chart/", "429")
    client = client_of(fake)
    client.list_charts()
    first, second, third = client.waits  # type: ignore[attr-defined]
    assert 0.2 <= first <= 0.6
    assert 0.4 <= second <= 1.2
    assert third == 1.0  # what the 429 asked for


def test_a_server_that_asks_for_an_hour_is_not_waited_for() -> None:
    fake = estate()
    busy = httpx.Response(429, json={"message": "later"}, headers={"retry-after": "3600"})
    fake.misbehave("GET", "/api/v1/chart/", busy, times=None)
    with pytest.raises(SupersetUnreachable, match="later"):
        client_of(fake).list_charts()
    assert paths(fake, "GET").count("/api/v1/chart/") == 1


def test_a_500_that_says_why_is_not_asked_again() -> None:
    fake = estate()
    says_why = httpx.Response(500, json={"errors": [{"message": "Could not locate column datasource_id"}]})
    fake.misbehave("GET", "/api/v1/chart/", says_why, times=None)
    with pytest.raises(SupersetRefused, match="Could not locate column") as caught:
        client_of(fake).list_charts()
    assert caught.value.code == "invalid"
    assert paths(fake, "GET").count("/api/v1/chart/") == 1


# -- writes are not --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "reset_after", "timeout", "timeout_after", "truncated"])
def test_a_write_whose_answer_never_came_is_ambiguous_and_sent_once(fault: str) -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, fault)
    with pytest.raises(AmbiguousWrite) as caught:
        client_of(fake).import_assets(bundle, sparse=True)
    assert caught.value.written is None
    assert caught.value.code == "ambiguous_write"
    assert caught.value.detail["cause"] in ("connection_lost", "timeout")
    assert paths(fake, "POST").count(IMPORT) == 1
    done = was_written(fake)
    assert done == (fault in ("reset_after", "timeout_after", "truncated"))


@pytest.mark.parametrize(
    ("fault", "answered"),
    [
        ("reset", False),
        ("timeout_after", False),
        (httpx.Response(504, json={"message": "Endpoint request timed out"}), False),
        (httpx.Response(502, html="<h1>Bad Gateway</h1>"), False),
        ("html_200", False),
        ("html_500", True),
        (httpx.Response(500, json={"message": "OperationalError: server closed the connection"}), True),
        (httpx.Response(200, json={"result": "?"}), True),
    ],
)
def test_an_ambiguous_write_tells_whether_superset_itself_gave_the_answer(fault: Any, answered: bool) -> None:
    """Then nothing of it is still under way; a proxy that gave up says nothing about that."""
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, fault)
    with pytest.raises(AmbiguousWrite) as caught:
        client_of(fake).import_assets(bundle, sparse=True)
    assert caught.value.detail["answered"] is answered


def test_what_is_refused_before_it_leaves_is_not_sent() -> None:
    class NotMine(BaseException):
        pass

    asked: list[tuple[str, str]] = []

    def before(method: str, path: str) -> None:
        asked.append((method, path))
        if method == "PUT":
            raise NotMine

    fake = estate()
    client = client_of(fake, before_request=before)
    with pytest.raises(NotMine):
        client.update("chart", client.list_charts()[0].id, {"description": "late"})
    assert not fake.writes
    assert [method for method, _ in asked] == [request.method for request in fake.requests] + ["PUT"]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_proxys_error_page_after_a_write_is_ambiguous(status: int) -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, httpx.Response(status, html="<h1>Gateway Time-out</h1>"))
    with pytest.raises(AmbiguousWrite, match="Gateway Time-out"):
        client_of(fake).import_assets(bundle, sparse=True)
    assert paths(fake, "POST").count(IMPORT) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<title>Superset</title>"),
        httpx.Response(200, json={"message": "accepted"}),
        httpx.Response(200, content=b""),
        httpx.Response(202, json={"message": "OK"}),
    ],
)
def test_an_import_succeeded_only_when_superset_says_ok(answer: httpx.Response) -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, answer)
    with pytest.raises(AmbiguousWrite):
        client_of(fake).import_assets(bundle, sparse=True)


def test_a_refused_connection_proves_nothing_was_written_and_is_tried_again() -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, "refused", times=2)
    client_of(fake).import_assets(bundle, sparse=True)
    assert was_written(fake)
    fake.misbehave("POST", IMPORT, "refused", times=None)
    with pytest.raises(SupersetUnreachable) as caught:
        client_of(fake).import_assets(bundle, sparse=True)
    assert caught.value.written is False
    assert not isinstance(caught.value, AmbiguousWrite)


@pytest.mark.parametrize(("method", "call"), [("PUT", "update"), ("DELETE", "delete")])
def test_edits_and_deletions_are_sent_once_too(method: str, call: str) -> None:
    fake = estate()
    client = client_of(fake)
    id = client.list_charts()[0].id
    fake.misbehave(method, "/api/v1/chart/", "reset_after")
    with pytest.raises(AmbiguousWrite):
        client.update("chart", id, {"slice_name": "x"}) if call == "update" else client.delete("chart", id)
    assert len(paths(fake, method)) == 1
    fake.misbehave(method, "/api/v1/chart/", "html_200")
    with pytest.raises(AmbiguousWrite):
        client.update("chart", id, {}) if call == "update" else client.delete("chart", id)


def test_a_write_that_was_put_off_is_sent_again_after_the_pause() -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, "429", times=2)
    client = client_of(fake)
    client.import_assets(bundle, sparse=True)
    assert paths(fake, "POST").count(IMPORT) == 3
    assert client.waits == [1.0, 1.0]  # type: ignore[attr-defined]


def test_a_write_that_is_always_put_off_ends_with_nothing_written() -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, "429", times=None)
    with pytest.raises(SupersetUnreachable) as caught:
        client_of(fake).import_assets(bundle, sparse=True)
    assert (caught.value.code, caught.value.written) == ("rate_limited", False)
    assert paths(fake, "POST").count(IMPORT) == 4


def test_half_a_429_says_nothing_about_a_write() -> None:
    """What was put off for certain is only what a complete answer says so about."""
    fake = estate()
    bundle = bundle_for(fake)

    def breaks_off(request: httpx.Request) -> httpx.Response:
        class Half(httpx.SyncByteStream):
            def __iter__(self) -> Any:
                yield b'{"mess'
                raise httpx.ReadError("gone", request=request)

        return httpx.Response(429, stream=Half(), headers={"content-length": "500"})

    fake.misbehave("POST", IMPORT, breaks_off)
    with pytest.raises(AmbiguousWrite):
        client_of(fake).import_assets(bundle, sparse=True)
    assert paths(fake, "POST").count(IMPORT) == 1


@pytest.mark.parametrize(
    ("asked", "date", "waited"),
    [
        ("7", None, 7.0),
        ("Mon, 23 Nov 2026 10:00:30 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 30.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 0.0),
    ],
)
def test_a_pause_is_asked_for_in_seconds_or_until_a_time_of_the_servers_clock(
    asked: str, date: str | None, waited: float
) -> None:
    fake = estate()
    headers = {"retry-after": asked} | ({"date": date} if date else {})
    fake.misbehave("GET", "/api/v1/chart/", httpx.Response(429, json={"message": "later"}, headers=headers))
    client = client_of(fake)
    client.list_charts()
    assert client.waits == [waited]  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", ["soon", "", "-5", "1e3", "\xb2"])
def test_a_pause_that_nobody_can_read_is_a_short_one(asked: str) -> None:
    fake = estate()
    answer = httpx.Response(429, json={}, headers=[(b"retry-after", asked.encode("latin-1"))])
    fake.misbehave("GET", "/api/v1/chart/", answer)
    client = client_of(fake)
    client.list_charts()
    (waited,) = client.waits  # type: ignore[attr-defined]
    assert 0.1 < waited < 1


@pytest.mark.parametrize("version", ["4.1.4", "6.1.0"])
def test_superset_says_why_it_refuses_a_bundle_by_file(version: str) -> None:
    fake = estate(version)
    bundle = client_of(fake).export_charts([3])
    chart = next(bundle.of_kind("chart"))
    del chart.data["dataset_uuid"]
    before = fake.state()
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake).import_charts(bundle, True)
    assert caught.value.status == 422
    assert caught.value.detail == {chart.path: {"dataset_uuid": ["Missing data for required field."]}}
    assert chart.path in caught.value.message
    assert fake.state() == before


# -- CSRF ------------------------------------------------------------------------------------------


def test_a_lost_csrf_token_is_renewed_once_and_the_import_goes_through() -> None:
    fake = estate()
    bundle = bundle_for(fake)
    client = client_of(fake)
    client.update("chart", 3, {"slice_name": "first"})
    fake.forget_csrf()
    client.import_assets(bundle, sparse=True)
    assert paths(fake, "POST").count(IMPORT) == 2
    assert was_written(fake)


def test_one_csrf_token_serves_many_writes() -> None:
    fake = estate()
    client = client_of(fake)
    for name in ("a", "b", "c"):
        client.update("chart", 3, {"slice_name": name})
    assert paths(fake, "GET").count("/api/v1/security/csrf_token/") == 1


def test_a_csrf_refusal_that_stays_is_an_error_of_its_own() -> None:
    fake = estate()
    bundle = bundle_for(fake)
    fake.misbehave("POST", IMPORT, "login", times=None)
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake).import_assets(bundle, sparse=True)
    assert (caught.value.code, caught.value.written) == ("csrf", False)
    assert paths(fake, "POST").count(IMPORT) == 2


def test_every_request_says_where_it_comes_from_and_wants_json() -> None:
    fake = estate()
    client_of(fake).update("chart", 3, {"slice_name": "x"})
    for request in fake.requests:
        assert request.headers["accept"] == "application/json"
        assert request.headers["referer"] == "http://superset.test/"


# -- tokens ----------------------------------------------------------------------------------------


def test_a_token_that_ends_early_is_replaced_in_mid_run_and_the_write_done_once() -> None:
    fake = estate()
    client = client_of(fake)
    client.update("chart", 3, {"slice_name": "first"})
    fake.expire_tokens()
    seen: list[str] = []
    fake.misbehave("PUT", "/api/v1/chart/", lambda request: seen.append("put"), times=None)
    client.update("chart", 3, {"slice_name": "second"})
    assert fake.assets["chart"][3]["data"]["slice_name"] == "second"
    assert seen == ["put", "put"]  # the first was turned away with 401, before anything was done
    assert [line.status for line in client.log if line.method == "PUT"] == [200, 401, 200]


def test_a_token_near_its_end_is_refreshed_before_a_write_starts() -> None:
    fake = estate()
    fake.token_seconds = 100  # less than what an upload may take
    client = client_of(fake)
    client.list_charts()
    client.list_charts()
    assert paths(fake, "POST") == ["/api/v1/security/login"]
    client.update("chart", 3, {"slice_name": "x"})
    assert "/api/v1/security/refresh" in paths(fake, "POST")
    assert len(paths(fake, "PUT")) == 1


def test_when_the_refresh_token_is_gone_too_the_client_signs_in_again() -> None:
    fake = estate()
    fake.token_seconds = 5
    client = client_of(fake)
    client.list_charts()
    fake.expire_tokens()
    client.list_charts()
    assert paths(fake, "POST") == [
        "/api/v1/security/login",
        "/api/v1/security/refresh",
        "/api/v1/security/login",
    ]


def test_a_server_with_a_new_key_answers_422_and_the_client_signs_in_again() -> None:
    fake = estate()
    client = client_of(fake)
    client.list_charts()
    fake.misbehave(
        "GET", "/api/v1/chart/", httpx.Response(422, json={"msg": "Signature verification failed"})
    )
    assert len(client.list_charts()) == 2


def test_a_wrong_password_is_tried_once() -> None:
    fake = estate()
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake, PasswordAuth("admin", "nope-nope")).list_charts()
    assert caught.value.code == "unauthorized"
    assert "nope-nope" not in str(caught.value)
    assert len(fake.requests) == 1


def test_the_wrong_provider_is_told_apart_from_a_wrong_password() -> None:
    fake = estate()
    fake.auth_type = 2
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake).list_charts()
    assert caught.value.code == "login_provider"
    assert len(client_of(fake, PasswordAuth("admin", "admin", provider="ldap")).list_charts()) == 2


def test_a_given_token_works_and_its_end_is_told() -> None:
    fake = estate()
    fake.tokens["sst_abcdefgh"] = time.time() + 100
    assert len(client_of(fake, TokenAuth("Bearer sst_abcdefgh")).list_charts()) == 2
    fake.tokens.clear()
    with pytest.raises(SupersetRefused, match="Token has expired") as caught:
        client_of(fake, TokenAuth("sst_abcdefgh")).list_charts()
    assert caught.value.code == "unauthorized"


def test_a_token_that_says_itself_that_it_is_over_is_not_sent() -> None:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": time.time() - 3600}).encode()).decode().rstrip("=")
    fake = estate()
    with pytest.raises(SupersetRefused, match="expired"):
        client_of(fake, TokenAuth(f"eyJhbGciOiJIUzI1NiJ9.{payload}.sig")).list_charts()
    assert fake.requests == []


@pytest.mark.parametrize("token", ["", "two words", "zwölf"])
def test_what_cannot_be_a_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        TokenAuth(token)


def test_a_session_signs_in_as_a_browser_does_and_again_when_it_is_over() -> None:
    fake = estate()
    client = client_of(fake, SessionAuth("admin", "admin"))
    assert len(client.list_charts()) == 2
    client.update("chart", 3, {"slice_name": "x"})
    fake._sessions.clear()
    assert len(client.list_charts()) == 2
    assert "authorization" not in fake.requests[-1].headers
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake, SessionAuth("admin", "wrong")).list_charts()
    assert caught.value.code == "unauthorized"


# -- what is not a Superset ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, html="<title>Welcome to nginx!</title>"), "Welcome to nginx!"),
        (
            httpx.Response(200, html="<form><input type='text'><input type=\"password\"></form>"),
            "sign-in page",
        ),
        (
            httpx.Response(302, headers={"location": "https://login.corp.test/oauth"}),
            "https://login.corp.test",
        ),
        (httpx.Response(301, headers={"location": "https://superset.test/api"}), "Use that address"),
        (httpx.Response(200, json=[1, 2]), "not Superset's"),
        (httpx.Response(200, json={"result": "x", "count": 1}), "not Superset's"),
        (httpx.Response(200, json={"result": [{"no": "id"}], "count": 1}), "not Superset's"),
        (httpx.Response(404, html="<h1>Not Found</h1>"), "Not Found"),
    ],
)
def test_another_service_is_recognised(answer: httpx.Response, words: str) -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/chart/", answer, times=None)
    with pytest.raises(SupersetRefused, match=words) as caught:
        client_of(fake).list_charts()
    assert caught.value.code == "not_superset"


def test_a_redirect_is_never_followed() -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/chart/", "login", times=None)
    with pytest.raises(SupersetRefused):
        client_of(fake).list_charts()
    assert "/login/" not in paths(fake, "GET")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"message": "Filter column: x not allowed to filter"}, "invalid"),
        (403, {"message": "Forbidden"}, "forbidden"),
        (404, {"message": "Not found"}, "not_found"),
        (409, {"message": "busy"}, "conflict"),
        (413, {"message": "big"}, "too_large"),
        (422, {"errors": [{"message": "no", "extra": {"a.yaml": {"x": ["bad"]}}}]}, "invalid"),
    ],
)
def test_refusals_are_told_apart_with_supersets_words(status: int, body: dict[str, Any], code: str) -> None:
    fake = estate()
    fake.misbehave("PUT", "/api/v1/chart/3", httpx.Response(status, json=body))
    with pytest.raises(SupersetRefused) as caught:
        client_of(fake).update("chart", 3, {})
    assert (caught.value.code, caught.value.status, caught.value.written) == (code, status, False)
    said = body.get("message") or "no"
    assert said in caught.value.message


# -- secrets ---------------------------------------------------------------------------------------


def test_no_secret_in_any_error_record_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    fake = estate()
    fake.users["admin"] = "Pa55-word!"
    records: list[RequestRecord] = []
    client = client_of(fake, PasswordAuth("admin", "Pa55-word!"), on_request=records.append)
    leaky = {
        "errors": [
            {
                "message": "connect to postgresql://bi:topsecret@db/x failed, Pa55-word! token",
                "extra": {"databases/x.yaml": {"uri": ["mysql://root:hunter22@h/ bad", "password=abc123"]}},
            }
        ]
    }
    caplog.set_level(logging.DEBUG)
    client.list_charts()
    token = next(iter(fake.tokens))
    csrf = client._csrf_header(needed=True)["X-CSRFToken"]

    def leaks(request: httpx.Request) -> httpx.Response:
        echo = {**leaky, "message": f"{request.headers['authorization']} {request.headers['x-csrftoken']}"}
        return httpx.Response(422, json=echo)

    fake.misbehave("PUT", "/api/v1/chart/3", leaks)
    with pytest.raises(SupersetRefused) as caught:
        client.update("chart", 3, {"slice_name": "x"})
    error = caught.value
    said = (error, error.message, error.detail, error.args, error.__cause__)
    shown = f"{said!r} {error} {client!r} {client.auth!r} {records!r} {list(client.log)!r} {caplog.text}"
    for secret in ("Pa55-word!", "topsecret", "hunter22", "abc123", token, csrf):
        assert secret not in shown


def test_short_secrets_are_hidden_where_they_stand_alone_and_encoded_ones_too() -> None:
    assert redact("pw abc, abcdef", ["abc"]) == "pw …, abcdef"
    assert redact("at p%40ss%2Fword1 and p@ss/word1", ["p@ss/word1"]) == "at … and …"
    assert PasswordAuth("admin", "admin").secrets() == ()
    assert PasswordAuth("admin", "secret").secrets() == ("secret",)


def test_errors_survive_the_way_through_a_queue() -> None:
    import pickle

    for error in (
        SupersetRefused("no", code="forbidden", status=403, detail={"a": 1}),
        AmbiguousWrite("who knows", detail={"cause": "timeout"}),
        SupersetUnreachable("later", code="timeout"),
    ):
        again: SupersetError = pickle.loads(pickle.dumps(error))
        assert vars(again) == vars(error)
        assert type(again) is type(error)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at postgresql://u:p@h/x", "at postgresql://…@h/x"),
        ("http://user@host", "http://…@host"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer …"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln", "token …"),
        ("password=secret&x=1", "password=…&x=1"),
        ("nothing here", "nothing here"),
    ],
)
def test_redaction(text: str, clean: str) -> None:
    assert redact(text) == clean


# -- the log, parallel requests, addresses ---------------------------------------------------------


def test_each_request_leaves_one_line() -> None:
    fake = estate()
    fake.misbehave("GET", "/api/v1/chart/", "reset")
    client = client_of(fake)
    client.list_charts()
    lines = [
        (line.method, line.path.partition("?")[0], line.status, line.attempt, line.error)
        for line in client.log
    ]
    assert lines == [
        ("POST", "/api/v1/security/login", 200, 1, None),
        ("GET", "/api/v1/chart/", None, 1, "connection_lost"),
        ("GET", "/api/v1/chart/", 200, 2, None),
    ]
    assert [line.is_mutating for line in client.log] == [False, False, False]
    client.update("chart", 3, {"slice_name": "x"})
    assert client.log[-1].is_mutating
    assert client.log[-1].sent > 0


def test_no_more_requests_at_once_than_allowed() -> None:
    fake = estate(charts=30)
    fake.page_cap = 3
    now, most, lock = 0, 0, threading.Lock()

    def watch(kind: str) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1

    fake.on_list = watch
    client = client_of(fake, max_parallel=2)
    threads = [threading.Thread(target=client.list_charts) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://host", "http://host"),
        ("https://host:8443/", "https://host:8443"),
        ("https://host/superset-a//", "https://host/superset-a"),
        ("http://[::1]:8088/", "http://[::1]:8088"),
        (" https://host/login/ ", "https://host"),
        ("https://host/a/superset/welcome/", "https://host/a"),
    ],
)
def test_addresses_as_people_give_them(url: str, base: str) -> None:
    assert "".join(parse_url(url)) == base


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host", "http://", "https://user:pass@host", "https://user@host", "http://a b", "http://h:x",
     "http://h/../x", "http://h\\x", "http://[::1"],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SupersetRefused) as caught:
        parse_url(url)
    assert caught.value.code == "bad_url"
    assert "pass" not in caught.value.message.replace("password", "")


def test_an_install_below_a_path_works_whole() -> None:
    fake = estate(base_path="/superset-a")
    client = client_of(fake)
    assert client.check().ok
    bundle = bundle_for(fake)
    client.import_assets(bundle, sparse=True)
    assert {request.url.path.startswith("/superset-a/") for request in fake.requests} == {True}


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(SupersetRefused) as caught:
        SupersetClient("http://host", TokenAuth("x"), proxy="nonsense://proxy")
    assert caught.value.code == "bad_url"
