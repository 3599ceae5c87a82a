"""Driving the product in live tests as its pages do: services ask for work, and the job runs here at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from environments import services as environment_services
from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Kind
from environments.connections import connect
from environments.lab.instance import RunningSuperset
from environments.models import Asset, Environment
from environments.reading import read_everything
from environments.store import EnvironmentReading
from migrations_app import services
from migrations_app.models import Migration, Plan, Run
from sstools.jobs.models import Job
from sstools.jobs.runner import run_job


class Product:
    """One ss-tools with its people and environments."""

    def __init__(self) -> None:
        self.admin = get_user_model().objects.create_superuser("root", password="a long password 1")

    def register(self, slug: str, superset: RunningSuperset, **fields: Any) -> Environment:
        environment = environment_services.register_environment(
            {
                "name": slug.title(),
                "slug": slug,
                "tag": slug.upper()[:12],
                "url": superset.url,
                "position": {"dev": 1, "prod": 3}.get(slug, 0),
                "auth_kind": "password",
                "username": superset.username,
                "secret": superset.password,
                **fields,
            },
            actor=self.admin,
        )
        self.do(environment_services.request_check(environment, actor=self.admin))
        self.do(environment_services.request_reading(environment, actor=self.admin))
        environment.refresh_from_db()
        return environment

    def read(self, environment: Environment) -> EnvironmentReading:
        """What is there now, exported afresh, past everything that is stored."""
        with connect(environment) as client:
            return read_everything(client, environment, fresh=True)

    def refresh(self, environment: Environment) -> None:
        self.do(environment_services.request_reading(environment, actor=self.admin))

    def do(self, job: Job, state: str = "succeeded") -> Job:
        run_job(str(job.uuid))
        job.refresh_from_db()
        assert job.state == state, (
            job.title,
            job.state,
            job.error,
            [line.text for line in job.logs.all()[:50]],
        )
        return job

    def uuids(self, environment: Environment, *kinds: str, title: str = "") -> list[str]:
        rows = Asset.objects.filter(environment=environment, kind__in=kinds)
        return list((rows.filter(title=title) if title else rows).values_list("uuid", flat=True))

    def migrate(
        self, source: Environment, target: Environment, selection: list[str], **fields: Any
    ) -> Migration:
        """A migration with a plan, every database mapped by the best suggestion."""
        migration = services.create_migration(source, target, selection=selection, actor=self.admin, **fields)
        plan = self.plan(migration)
        unmapped = {row["uuid"]: row["suggestions"][0]["uuid"] for row in plan.databases if not row["target"]}
        if unmapped:
            services.save_mapping(source, target, actor=self.admin, databases=unmapped)
            self.plan(migration)
        migration.refresh_from_db()
        return migration

    def plan(self, migration: Migration) -> Plan:
        self.do(services.request_plan(migration, actor=self.admin))
        migration.refresh_from_db()
        assert migration.plan is not None
        return migration.plan

    def answer(self, migration: Migration, answers: dict[str, Any]) -> Plan:
        services.answer_conflicts(migration, answers, actor=self.admin)
        return self.plan(migration)

    def apply(self, migration: Migration, state: str = "succeeded") -> Run:
        migration.refresh_from_db()
        assert migration.plan is not None
        job = services.request_apply(
            migration, plan_hash=migration.plan.hash, actor=self.admin, confirmation=migration.target.slug
        )
        self.do(job, state)
        migration.refresh_from_db()
        run = migration.runs.first()
        assert run is not None
        return run

    def roll_back(self, run: Run) -> Migration:
        migration = services.create_rollback(run, actor=self.admin)
        self.plan(migration)
        return migration


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


def fingerprints(reading: EnvironmentReading) -> dict[str, str]:
    """Comparison fingerprints by uuid, connections as their whole content."""
    return {
        uuid: document.fingerprint if document.kind == Kind.DATABASE else comparison_fingerprint(document)
        for uuid, document in reading.documents.items()
    }


def by_title(reading: EnvironmentReading, kind: Kind, title: str) -> Document:
    return next(item for item in reading.documents.values() if item.kind == kind and item.title == title)


def actions(plan: Plan) -> dict[str, str]:
    """Action by title, of everything that is not unchanged."""
    return {item.title: item.action for item in plan.items.all() if item.action != "unchanged"}
