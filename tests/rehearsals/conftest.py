"""Two fake Supersets: `dev` is backed up, and `prod` is where everything may be replaced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from environments.backups import taking
from environments.backups.models import Backup
from environments.models import Environment
from migrations_app.rehearsals import services
from migrations_app.rehearsals.models import Rehearsal
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product


@dataclass
class Stage:
    pair: FakePair
    product: Product

    @property
    def source(self) -> Environment:
        return self.pair.source

    @property
    def scratch(self) -> Environment:
        return self.pair.target

    def back_up(self) -> Backup:
        backup: Backup = taking.take(self.source, taking.Asked())
        return backup

    def rehearse(self, state: str = "succeeded", **asked: Any) -> Rehearsal:
        job = services.request_rehearsal(self.source, self.scratch, actor=self.product.admin, **asked)
        self.product.do(job, state)
        return Rehearsal.objects.get(job=job)

    def request(self, **asked: Any) -> Job:
        return services.request_rehearsal(self.source, self.scratch, actor=self.product.admin, **asked)


@pytest.fixture
def stage(transactional_db: None) -> Iterator[Stage]:
    with fake_pair() as pair:
        pair.target.scratch, pair.target.name = True, "Sandbox"
        pair.target.save()
        yield Stage(pair, Product())


SALES = uuid_for("Sales")
