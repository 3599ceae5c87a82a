"""What a worker has in its hands before its first job."""

import pytest
from django_q.signals import post_spawn

from sstools.jobs import registry


def test_a_worker_knows_all_kinds_of_jobs_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaded", False)
    post_spawn.send(sender="django_q", proc_name="Process-1:1")
    assert registry._loaded
    assert "migrations_app.make_plan" in registry._kinds
