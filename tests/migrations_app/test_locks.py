"""One run at a time on a Superset, however often it is registered."""

from typing import Any

import pytest

from migrations_app import services
from sstools.jobs.models import JobResource
from tests.factories import make_environment, make_migration, make_plan

pytestmark = pytest.mark.django_db


def test_two_environments_on_one_superset_share_a_lock(admin: Any) -> None:
    locks = []
    for slug, url in (
        ("one", "https://bi.example.org/superset"),
        ("other", "https://BI.example.org/superset/"),
    ):
        migration = make_migration(target=make_environment(slug, url=url))
        plan = make_plan(migration)
        plan.problems = []
        plan.counts = {**plan.counts, "blocked": 0}
        plan.save()
        job = services.request_apply(migration, plan_hash=plan.hash, actor=admin, confirmation=slug)
        names = JobResource.objects.filter(job=job, exclusive=True).values_list("resource", flat=True)
        locks.append(set(names))
    assert locks[0] & locks[1] == {"superset:https://bi.example.org/superset"}
    assert len(locks[0]) == 2
