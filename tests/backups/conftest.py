"""An environment whose Superset is a fake in this process, as the tests of environments have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.backups import taking
from environments.backups.models import Backup
from environments.models import Environment
from tests.environments.conftest import environment, owner, registered, superset  # noqa: F401  fixtures


@pytest.fixture
def back_up(environment: Environment) -> Callable[..., Backup]:  # noqa: F811
    """`back_up(title="…", selection=(…))`: taken here and now, without a job."""

    def take(**asked: Any) -> Backup:
        return taking.take(environment, taking.Asked(**asked))

    return take
