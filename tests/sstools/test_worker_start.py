"""What a worker has in its hands before its first job."""

import pytest
from django.urls import clear_url_caches, get_resolver
from django_q.signals import post_spawn

from sstools.jobs import registry


def test_a_worker_knows_all_kinds_of_jobs_and_all_addresses_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_loaded", False)
    clear_url_caches()
    post_spawn.send(sender="django_q", proc_name="Process-1:1")
    assert registry._loaded
    assert "migrations_app.make_plan" in registry._kinds
    assert vars(get_resolver())["_populated"]
