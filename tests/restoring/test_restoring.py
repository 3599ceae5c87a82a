"""Restoring over two small Supersets: what is damaged comes back, what came later stays, a copy stands beside."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.companions import comparable
from environments.models import Environment
from migrations_app.models import Migration, Run
from migrations_app.restoring.services import create_restore
from tests.live.product import fingerprints
from tests.migrations_app.scenes import Scene
from tests.migrations_app.test_carrying import side_of

from .taking import take_backup

pytestmark = pytest.mark.django_db(transaction=True)


def companions(scene: Scene) -> dict[str, Any]:
    return {one.uuid: dict(comparable(one)) for one in side_of(scene.pair.dev).read().documents.values()}


def planned(scene: Scene, migration: Migration) -> Migration:
    scene.product.plan(migration)
    return migration


def state(scene: Scene, environment: Environment) -> dict[str, str]:
    return fingerprints(scene.product.read(environment))


def test_whatever_was_damaged_comes_back_as_it_was(furnished: Scene) -> None:
    scene, dev, source = furnished, furnished.pair.dev, furnished.pair.source
    before, beside = state(scene, source), companions(scene)
    backup = take_backup(source, scene.product)
    side = side_of(dev)
    side.call("DELETE", f"/api/v1/chart/{side.numbers['Colors']}")
    side.call(
        "PUT", f"/api/v1/dashboard/{side.numbers['dashboard']}", {"owners": [], "dashboard_title": "Broken"}
    )
    assert state(scene, source) != before
    migration = planned(
        scene, create_restore(backup, source, actor=scene.product.admin, roll_back_when_red=True)
    )
    assert migration.is_put_back
    run: Run = scene.product.apply(migration)
    assert run.state == "applied", run.error
    assert state(scene, source) == before
    assert companions(scene) == beside
