"""Django's admin over migrations: everything can be looked at, and nothing is changed past the services."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from environments.models import Document
from migrations_app.comparing.models import UploadedAsset, UploadedBundle, Viewed
from migrations_app.models import Baseline, Bystander, CompanionBaseline, Mapping, Pairing, PlanCompanion
from sstools.audit.models import AuditEvent
from tests.factories import make_migration, make_run, make_verdict, uuid_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(make_user: Any) -> Client:
    client = Client()
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def rows(root: Client) -> None:
    """One row of every model."""
    run = make_run(make_migration())
    make_verdict(run)
    Bystander.objects.create(run=run, uuid=uuid_for("c"), title="Own", before={"status": "ok"})
    PlanCompanion.objects.create(
        plan=run.plan, position=0, kind="rls", uuid=uuid_for("r"), title="Own", action="create"
    )
    source, target = run.migration.source, run.migration.target
    Mapping.objects.create(source=source, target=target)
    uuids = {"source_uuid": uuid_for("a"), "target_uuid": uuid_for("b")}
    Pairing.objects.create(source=source, target=target, kind="chart", **uuids)
    Baseline.objects.create(target=target, uuid=uuid_for("b"), wanted="0" * 64, present="0" * 64, run=run)
    CompanionBaseline.objects.create(target=target, kind="rls", uuid=uuid_for("r"), title="Own", run=run)
    bundle = UploadedBundle.objects.create(
        name="x",
        sha256="0" * 64,
        size=1,
        uploaded_by=User.objects.get(username="root"),
        expires_at=timezone.now(),
    )
    document = Document.objects.create(
        sha256="0" * 64, kind="chart", uuid=uuid_for("c"), title="x", body=b"", size=0
    )
    UploadedAsset.objects.create(bundle=bundle, kind="chart", uuid=uuid_for("c"), document=document)
    sides = {"left": "env:dev", "right": "env:prod"}
    Viewed.objects.create(user=bundle.uploaded_by, uuid=uuid_for("c"), stamp="x", **sides)


def page_of(name: str, row: Any) -> str:
    return reverse(f"{name}_change", args=[row.pk])


@pytest.mark.parametrize(
    "model", list(apps.get_app_config("migrations_app").get_models()), ids=lambda model: model.__name__
)
def test_every_model_is_there_to_look_at(root: Client, rows: None, model: Any) -> None:
    assert django_admin.site.is_registered(model)
    name = f"admin:migrations_app_{model._meta.model_name}"
    row = model.objects.first()
    assert row is not None
    listed = root.get(reverse(f"{name}_changelist"))
    assert listed.status_code == 200
    assert page_of(name, row) in listed.content.decode()
    assert root.get(reverse(f"{name}_changelist"), {"q": "x"}).status_code == 200
    page = page_of(name, row)
    assert root.get(page).status_code == 200
    assert root.post(page, {"title": "changed"}).status_code == 403
    assert root.get(reverse(f"{name}_add")).status_code == 403
    removal = root.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"})
    if model is Pairing:
        assert removal.status_code == 302
        assert not Pairing.objects.exists()
        assert AuditEvent.objects.get(action="pairing:remove").data["before"][0]["source_uuid"] == uuid_for(
            "a"
        )
    else:
        assert removal.status_code == 403
        assert model.objects.filter(pk=row.pk).exists()


def test_a_list_does_not_ask_for_each_row(root: Client, db: None, django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        make_run(make_migration())
    for model in ("migration", "plan", "run", "planitem"):
        with django_assert_max_num_queries(12):
            assert root.get(reverse(f"admin:migrations_app_{model}_changelist")).status_code == 200
