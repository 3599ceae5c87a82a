"""The API's common parts: signing in, errors, pages of results, jobs, schema."""

import json

import pytest
from django.test import Client
from django.urls import path
from rest_framework.test import APIClient
from rest_framework.views import APIView

from sstools import urls
from sstools.errors import Invalid, SSToolsError, translates
from sstools.jobs import services
from sstools.jobs.models import Job, State
from sstools.roles.models import ApiToken

pytestmark = pytest.mark.django_db
JOBS, TOKENS = "/api/v1/jobs/", "/api/v1/tokens/"
PASSWORD = "a long password 1"


def problem(response):
    assert response.headers["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == response.status_code
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body


# --- Signing in


def test_a_token_for_user_name_and_password_opens_the_api(author):
    client = APIClient()
    asked = {"username": "author", "password": PASSWORD, "name": "nightly", "days": 7}
    made = client.post(TOKENS, asked, format="json")
    assert made.status_code == 201
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.data['token']}")
    me = client.get("/api/v1/me/").data
    assert (me["username"], me["permissions"]["migration:plan"]) == ("author", ["*"])
    assert "migration:apply" not in me["permissions"]
    listed = client.get(TOKENS).data
    assert [(row["name"], "token" in row) for row in listed] == [("nightly", False)]
    assert client.delete(f"{TOKENS}{made.data['id']}/").status_code == 204
    assert problem(client.get(JOBS))["code"] == "authentication_failed"


@pytest.mark.parametrize("body", [{"username": "author", "password": "wrong"}, {"username": "nobody"}, {}])
def test_wrong_credentials_give_no_token_and_say_the_same_whatever_was_wrong(author, body):
    answer = problem(APIClient().post(TOKENS, body, format="json"))
    assert (answer["status"], answer["code"]) == (401, "authentication_failed")
    assert answer["detail"] == "User name or password is wrong."
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Bearer sst_wrong", "Bearer \xff\xfe", "Bearer x"]
)
def test_a_bad_bearer_is_401_and_says_how_to_sign_in(db, header):
    response = APIClient().get(JOBS, HTTP_AUTHORIZATION=header.encode("latin-1").decode("latin-1"))
    assert problem(response)["code"] == "authentication_failed"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_session_works_too_but_writes_need_the_csrf_token(author):
    client = Client(enforce_csrf_checks=True)
    client.force_login(author)
    assert client.get(JOBS).status_code == 200
    job = services.enqueue("trial.write", {"name": "a"}, actor=author)
    refused = client.post(f"{JOBS}{job.uuid}/cancel/")
    assert problem(refused)["code"] == "not_allowed"
    job.refresh_from_db()
    assert job.state == State.QUEUED


# --- Errors


class Bug(APIView):
    def get(self, request):
        raise ZeroDivisionError("password=hunter2")


class Expected(APIView):
    def get(self, request):
        raise Invalid(
            "The plan has holes.", errors={"items": ["Choose one."]}, remedy="Choose.", code="holes"
        )


class Foreign(Exception):
    """As a pure library raises it."""


class Translated(APIView):
    def get(self, request):
        raise Foreign("from below")


@translates(Foreign)
def foreign(exc):
    return SSToolsError(f"Heard: {exc}", code="foreign", status=502)


@pytest.fixture
def views(settings):
    extra = [("bug", Bug), ("expected", Expected), ("translated", Translated)]
    urls.urlpatterns[:0] = [path(f"api/v1/test/{name}/", view.as_view()) for name, view in extra]
    yield
    del urls.urlpatterns[: len(extra)]


@pytest.fixture
def clear_urls():
    from django.urls import clear_url_caches

    clear_url_caches()
    yield
    clear_url_caches()


def test_an_expected_error_is_a_problem_with_its_code_remedy_and_fields(clear_urls, views, author, api):
    body = problem(api(author).get("/api/v1/test/expected/"))
    assert (body["status"], body["code"], body["detail"]) == (422, "holes", "The plan has holes.")
    assert (body["remedy"], body["errors"]) == ("Choose.", {"items": ["Choose one."]})


def test_an_error_of_a_library_below_is_shown_in_its_own_words(clear_urls, views, author, api):
    body = problem(api(author).get("/api/v1/test/translated/"))
    assert (body["status"], body["code"], body["detail"]) == (502, "foreign", "Heard: from below")


def test_a_bug_is_a_problem_too_and_shows_nothing_of_itself(clear_urls, views, author, api):
    client = api(author)
    client.raise_request_exception = False
    response = client.get("/api/v1/test/bug/")
    body = problem(response)
    assert (body["status"], body["code"]) == (500, "unexpected")
    assert "hunter2" not in response.content.decode()
    assert "ZeroDivision" not in response.content.decode()


def test_what_goes_wrong_before_a_view_is_a_problem_as_well(author, api):
    client = api(author)
    assert problem(client.get("/api/v1/nonsense/"))["code"] == "not_found"
    assert problem(client.get("/api/"))["code"] == "not_found"
    assert problem(client.get(f"{JOBS}00000000-0000-0000-0000-000000000000/"))["code"] == "not_found"
    assert problem(client.put(JOBS, {}, format="json"))["code"] == "method_not_allowed"
    broken = client.generic("POST", TOKENS, b"{not json", content_type="application/json")
    assert problem(broken)["code"] == "malformed"
    assert problem(client.post(TOKENS, "a=b", content_type="text/csv"))["code"] == "unsupported_media_type"
    invalid = problem(client.post(TOKENS, {"days": "soon"}, format="json"))
    assert (invalid["code"], list(invalid["errors"])) == ("invalid", ["days"])


def test_the_request_id_of_a_proxy_is_taken_over_unless_it_could_forge_a_log_line(author, api):
    client = api(author)
    assert client.get(JOBS, HTTP_X_REQUEST_ID="abc-12345678").headers["X-Request-ID"] == "abc-12345678"
    assert client.get(JOBS, HTTP_X_REQUEST_ID="a b\nERROR").headers["X-Request-ID"] != "a b\nERROR"


# --- Pages of results


def test_pages_have_fifty_rows_and_at_most_two_hundred(author, api):
    Job.objects.bulk_create([Job(kind="trial.write", actor=author) for _ in range(260)])
    client = api(author)
    first = client.get(JOBS).data
    assert (first["count"], len(first["results"]), first["previous"]) == (260, 50, None)
    assert len(client.get(JOBS, {"page_size": 1000}).data["results"]) == 200
    assert problem(client.get(JOBS, {"page": 99}))["code"] == "not_found"


def test_the_list_costs_the_same_number_of_queries_for_any_number_of_jobs(
    author, api, django_assert_max_num_queries
):
    client = api(author)
    for _ in range(30):
        services.enqueue("trial.write", {"name": "a"}, actor=author, locks=["environment:prod"])
    with django_assert_max_num_queries(7):
        assert len(client.get(JOBS).data["results"]) == 30


# --- Jobs


def test_a_job_from_asking_to_its_log(author, api, run_jobs):
    client = api(author)
    job = services.enqueue("trial.apply", {"name": "n"}, actor=author, source="api")
    waiting = client.get(f"{JOBS}{job.uuid}/").data
    assert (waiting["state"], waiting["is_finished"], waiting["actor"]) == ("queued", False, "author")
    run_jobs()
    done = client.get(waiting["url"]).data
    assert (done["state"], done["result"], done["error"]) == ("succeeded", {"name": "n"}, None)
    log = client.get(f"{JOBS}{job.uuid}/log/").data
    assert [line["seq"] for line in log] == [1, 2, 3]
    assert [line["seq"] for line in client.get(f"{JOBS}{job.uuid}/log/", {"after": 2}).data] == [3]
    assert problem(client.get(f"{JOBS}{job.uuid}/log/", {"after": "x"}))["code"] == "invalid"


def test_cancel_retry_and_their_refusals(author, viewer, api):
    client = api(author)
    job = services.enqueue("trial.write", {"name": "n"}, actor=author)
    assert problem(api(viewer).post(f"{JOBS}{job.uuid}/cancel/"))["code"] == "not_allowed"
    assert problem(client.post(f"{JOBS}{job.uuid}/retry/"))["code"] == "not_retryable"
    assert client.post(f"{JOBS}{job.uuid}/cancel/").data["state"] == "cancelled"
    assert problem(client.post(f"{JOBS}{job.uuid}/cancel/"))["code"] == "already_finished"
    again = client.post(f"{JOBS}{job.uuid}/retry/")
    assert again.status_code == 202
    assert again.headers["Location"] == again.data["url"]
    assert again.data["uuid"] != str(job.uuid)


def test_a_question_is_answered_through_the_api(author, api, run_jobs):
    client = api(author)
    job = services.enqueue("trial.ask", actor=author)
    run_jobs()
    assert client.get(f"{JOBS}{job.uuid}/").data["question"]["title"] == "Which database?"
    assert client.post(f"{JOBS}{job.uuid}/answer/", {"answer": "dwh"}, format="json").status_code == 202
    run_jobs()
    assert client.get(f"{JOBS}{job.uuid}/").data["result"] == {"chosen": "dwh"}


def test_jobs_of_others_do_not_exist_for_a_stranger(author, stranger, api):
    job = services.enqueue("trial.write", {"name": "n"}, actor=author)
    client = api(stranger)
    assert client.get(JOBS).data["count"] == 0
    for address, method in [
        ("", "get"),
        ("log/", "get"),
        ("cancel/", "post"),
        ("retry/", "post"),
        ("answer/", "post"),
    ]:
        response = getattr(client, method)(f"{JOBS}{job.uuid}/{address}")
        assert problem(response)["code"] == "not_found"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("state=queued", 2),
        ("state=unfinished", 2),
        ("state=failed", 0),
        ("mine=true", 1),
        ("q=apply", 1),
        ("", 2),
    ],
)
def test_filters(author, viewer, api, query, number):
    services.enqueue("trial.write", {"name": "n"}, actor=author)
    services.enqueue("trial.apply", actor=viewer)
    assert api(viewer).get(f"{JOBS}?{query}").data["count"] == number


# --- Schema and its page


def test_the_schema_is_made_without_a_warning(capsys):
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.validation import validate_schema

    schema = SchemaGenerator(api_version="v1").get_schema(request=None, public=True)
    validate_schema(schema)
    assert "Warning" not in capsys.readouterr().err
    assert {"/api/v1/jobs/", "/api/v1/jobs/{uuid}/cancel/", "/api/v1/tokens/"} <= set(schema["paths"])


def test_the_reference_page_names_every_operation_and_loads_nothing_from_elsewhere(author, signed_in):
    client = signed_in(author)
    schema = client.get("/api/v1/schema/?format=json").json()
    page = client.get("/api/docs/").content.decode()
    for address, item in schema["paths"].items():
        assert address in page
        for method in item:
            assert method.upper() in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_schema_and_reference_are_for_people_who_signed_in(db):
    assert problem(APIClient().get("/api/v1/schema/"))["code"] == "not_authenticated"
    assert Client().get("/api/docs/").status_code == 302
