"""No secret in any answer, page, log, job row or history line: everything is done once, and everything is searched."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from environments import services
from environments.models import Environment
from environments.reading import read_everything
from environments.store import take_snapshot
from environments.superset.errors import SupersetRefused
from sstools.jobs.models import Job
from tests.fakes.superset import FakeSuperset

from .conftest import PASSWORD, fill

pytestmark = pytest.mark.django_db
TOKEN = "sst_token-that-nobody-may-see-1234567890"
NEW = "replaced-and-just-as-secret"


def everything_stored() -> str:
    """All rows of all tables, as the database holds them."""
    texts = []
    for model in apps.get_models():
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            texts += [repr(row) for row in cursor.fetchall()]
    return "\n".join(texts)


def test_no_secret_anywhere(
    registered: Callable[..., Environment],
    owner: Any,
    signed_in: Callable[[Any], Client],
    api: Callable[[Any], APIClient],
    run_jobs: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    fake = fill(FakeSuperset())
    fake.misbehave("GET", "/api/v1/dataset/", "html_500", times=4)
    by_password, by_token = registered(fake), registered(fake, "By token", auth_kind="token", secret=TOKEN)
    pages, rest = signed_in(owner), api(owner)
    answers = []
    for environment, secret in ((by_password, PASSWORD), (by_token, TOKEN)):
        echo = {
            "message": f"{secret} is password={secret} of postgresql://svc:{secret}@db.test and Bearer {secret}"
        }
        for _ in range(2):  # the second time everything answers
            for ask in (services.request_check, services.request_reading):
                ask(environment, actor=owner)
                run_jobs()
        with services.connect(environment) as client:
            import httpx

            fake.misbehave("GET", "/api/v1/assets/export/", httpx.Response(422, json=echo))
            with pytest.raises(SupersetRefused) as caught:
                read_everything(client, environment, fresh=True)
            answers.append(str(caught.value) + repr(caught.value) + repr(client))
    with services.connect(by_password) as client:
        take_snapshot(by_password, read_everything(client, by_password), "reading")
    services.update_environment(by_password, {"secret": NEW, "name": "Renamed"}, actor=owner)
    fake.users = {"admin": NEW}
    for path in (
        "/",
        "/environments/",
        "/environments/new/",
        "/environments/dev/",
        "/environments/dev/edit/",
        "/environments/by-token/",
        "/environments/by-token/edit/",
        "/environments/dev/remove/",
        "/assets/",
        "/jobs/",
        *(f"/jobs/{uuid}/" for uuid in Job.objects.values_list("uuid", flat=True)),
        *(f"/jobs/{uuid}/log.txt" for uuid in Job.objects.values_list("uuid", flat=True)),
        "/admin/environments/environment/",
        f"/admin/environments/environment/{by_password.pk}/change/",
        f"/admin/environments/environment/{by_token.pk}/change/",
    ):
        response = pages.get(path)
        assert response.status_code == 200, path
        answers.append(response.getvalue().decode())
    refused = {"name": "Renamed", "url": "nonsense", "auth_kind": "password", "username": "a", "secret": NEW}
    answers.append(pages.post("/environments/dev/edit/", refused).content.decode())
    for path in (
        "/api/v1/environments/",
        f"/api/v1/environments/{by_password.uuid}/",
        f"/api/v1/environments/{by_token.uuid}/",
        f"/api/v1/environments/{by_token.uuid}/databases/",
        "/api/v1/assets/?page_size=200",
        "/api/v1/jobs/?page_size=200",
    ):
        response = rest.get(path)
        assert response.status_code == 200, path
        answers.append(response.content.decode())
    answers.append(
        rest.patch(
            f"/api/v1/environments/{by_token.uuid}/", {"secret": "a b"}, format="json"
        ).content.decode()
    )
    rows = Environment.objects.all()
    answers.append(serializers.serialize("json", rows))
    answers.append(json.dumps([str(row.__dict__) for row in rows]))
    answers.append(repr([row.secret for row in rows]))
    found = "\n".join([*answers, everything_stored(), caplog.text, capsys.readouterr().err])
    assert len(found) > 100_000  # it did look at something
    for secret in (PASSWORD, TOKEN, NEW, "topsecret"):
        where = found.find(secret)
        assert where < 0, found[max(0, where - 200) : where + 50]
