"""Backups for tests, taken as the product takes them."""

from __future__ import annotations

from typing import Any

from environments.backups.models import Backup
from environments.backups.services import request_backup
from environments.models import Environment
from tests.live.product import Product


def take_backup(environment: Environment, product: Product, **fields: Any) -> Backup:
    """A backup of what is there now; of everything unless `selection` says otherwise."""
    job = product.do(request_backup(environment, actor=product.admin, **fields))
    assert (job.result or {})["state"] == "good", job.result
    return Backup.objects.select_related("snapshot", "environment").get(pk=(job.result or {})["backup"])
