from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app.git import services
from migrations_app.git.models import Repository
from sstools.jobs.models import Job
from sstools.jobs.runner import run_job
from tests.fakes.pair import FakePair, fake_pair

from .servers import bare


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """An empty bare repository in a folder that may be used."""
    settings.GIT_FOLDERS = [str(tmp_path)]
    return bare(tmp_path / "bi.git")


@pytest.fixture
def repository(folder: Path, admin: Any) -> Repository:
    return services.register_repository(
        {"name": "BI assets", "slug": "bi", "url": f"file://{folder}"}, actor=admin
    )


@pytest.fixture
def work() -> Callable[..., dict[str, Any]]:
    """work(job): does it, and gives its result; with `fails`, the code it is to fail with, its error."""

    def do(job: Job, fails: str = "") -> dict[str, Any]:
        run_job(str(job.uuid))
        job.refresh_from_db()
        if fails:
            assert job.error is not None, job.result
            assert job.error["code"] == fails, job.error
            return dict(job.error)
        assert job.state == "succeeded", job.error
        return dict(job.result or {})

    return do
