"""Exports and trees that people upload: read within limits, kept as documents for a while, then forgotten."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable
from environments.models import Asset, Environment
from environments.store import put_documents
from environments.superset.trees import SUPERSET
from environments.words import clean
from migrations_app.files import reading as files
from migrations_app.files.reading import documents_of, tree_of
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import NAME_LENGTH, SAVED_QUERY, UploadedAsset, UploadedBundle, Viewed

MAX_BYTES = files.MAX_BYTES
MAX_PER_PERSON = 20
#: Of what a command read: its next run reads the file again, and a migration keeps what it needs for as long. Less than
#: the one day that people's uploads are kept at least: that tells the two apart.
KEEP_OF_COMMAND = timedelta(hours=23)
_NOTES = 200


def store_upload(
    file: IO[bytes],
    name: str,
    *,
    actor: Any,
    origin: Environment | None = None,
    values: bytes | None = None,
    source: str = Source.PAGE,
) -> UploadedBundle:
    """Keep the assets of an export or a tree (ZIP, tar, tar.gz), to compare with or to bring somewhere. `origin`: the
    environment it was exported from, if known. `values`: what its templates are rendered with (YAML). What a command
    gives is kept for a day, and does not count among the uploads of a person.

    Raises NotAllowed for who may see no assets at all, or none of `origin`; Invalid("too_large", "too_many_uploads",
    "bundle_invalid", "bundle_empty", "values_invalid", "template_failed"). Nothing is kept of a file that is refused,
    and never the file itself.
    """
    policy.require_anywhere(actor, Permission.ASSET_VIEW)
    if origin is not None:
        policy.require(actor, Permission.ASSET_VIEW, origin)
    by_command = source == Source.COMMAND
    now = timezone.now()
    mine = UploadedBundle.objects.filter(uploaded_by=actor, expires_at__gt=now)
    # What a pipeline left takes nobody's place: it goes within the day.
    if (
        not by_command
        and mine.filter(expires_at__gt=F("uploaded_at") + KEEP_OF_COMMAND).count() >= MAX_PER_PERSON
    ):
        raise Invalid(
            f"You have {MAX_PER_PERSON} uploads already.",
            code="too_many_uploads",
            remedy="Remove one that is not needed any more.",
        )
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Invalid(
            f"The file is larger than {MAX_BYTES // 2**20} MiB.",
            code="too_large",
            remedy="Export fewer dashboards at once, or register the Superset as an environment.",
            errors={"file": [f"At most {MAX_BYTES // 2**20} MiB."]},
        )
    tree = tree_of(data, values)
    ids = IdTable()
    if origin is not None:
        rows = Asset.objects.filter(environment=origin).values_list("kind", "superset_id", "uuid")
        ids = IdTable((Kind(kind), number, uuid) for kind, number, uuid in rows)
    reading = documents_of(tree, ids, origin.url if origin is not None else "")
    if not reading.documents and not reading.queries:
        raise Invalid(
            "There is no dashboard, chart or dataset in this file.",
            code="bundle_empty",
            errors={"file": ["Nothing in it can be compared."]},
        )
    with transaction.atomic():
        put_documents([*reading.documents.values(), *reading.queries])
        kept = UploadedBundle.objects.create(
            name=clean(name.strip() or "upload.zip", NAME_LENGTH),
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            origin=origin,
            complete=tree.shape == SUPERSET and tree.metadata.get("type") == "assets",
            exported_at=_moment(tree.metadata.get("timestamp")),
            notes=[
                {"code": note.code, "uuid": note.uuid, "text": clean(note.text, 500), "where": note.where}
                for note in reading.notes[:_NOTES]
            ],
            uploaded_by=actor,
            uploaded_at=now,
            expires_at=now + (KEEP_OF_COMMAND if by_command else timedelta(days=settings.UPLOAD_KEEP_DAYS)),
        )
        UploadedAsset.objects.bulk_create(
            (
                UploadedAsset(
                    bundle=kept, kind=document.kind.value, uuid=uuid, document_id=document.fingerprint
                )
                for uuid, document in reading.documents.items()
            ),
            batch_size=1000,
        )
        UploadedAsset.objects.bulk_create(
            (
                UploadedAsset(bundle=kept, kind=SAVED_QUERY, uuid=query.uuid, document_id=query.fingerprint)
                for query in reading.queries
            ),
            batch_size=1000,
        )
        audit.record(
            "upload:create",
            kept,
            actor=actor,
            data={"sha256": kept.sha256, "bytes": kept.size, "assets": len(reading.documents)},
            source=source,
        )
    return kept


def remove_upload(bundle: UploadedBundle, *, actor: Any, source: str = Source.PAGE) -> None:
    """Forget an upload now. Whoever sees it may. Raises Conflict("in_use") while a migration is to be made of it."""
    if bundle.place in _in_use():
        raise Conflict(
            f"A migration takes its assets from {bundle.name}.",
            code="in_use",
            remedy="Apply or discard that migration first.",
        )
    with transaction.atomic():
        audit.record("upload:remove", bundle, actor=actor, source=source)
        bundle.delete()


def forget_uploads() -> int:
    """Uploads whose time is over. Their documents go when nothing refers to them any more."""
    count = 0
    in_use = _in_use()
    for bundle in UploadedBundle.objects.filter(expires_at__lte=timezone.now()):
        if bundle.place not in in_use:
            bundle.delete()
            count += 1
    return count


def _in_use() -> set[str]:
    """Places of files that migrations still take their assets from."""
    from migrations_app.models import BUSY_STATES, OPEN_STATES, Migration

    open_ones = Migration.objects.filter(
        source_place__startswith="file:", state__in=OPEN_STATES + BUSY_STATES
    )
    return set(open_ones.values_list("source_place", flat=True))


def forget_viewed() -> int:
    """Ticks that are older than uploads get: whoever compares again looks again."""
    before = timezone.now() - timedelta(days=settings.UPLOAD_KEEP_DAYS)
    return Viewed.objects.filter(at__lt=before).delete()[0]


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
