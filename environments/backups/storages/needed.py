"""Which documents backups need, and which nobody but backups needs. Asked of the database, in one statement each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Exists, ForeignObjectRel, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from environments.backups.models import Backup, Span
from environments.models import Document, SnapshotCompanion, SnapshotEntry

from .models import DocumentCopy
from .named import DATABASE

ENDLESS = 2**62
#: What refers to documents and is a part of backups, or of nothing.
OF_BACKUPS = {Span, SnapshotEntry, SnapshotCompanion, DocumentCopy}


def only_by_backups_elsewhere(rows: QuerySet[Document], before: datetime) -> QuerySet[Document]:
    """Those with a body that nothing needs but backups whose storage is not the database, and no open span: what
    the newest backup has, the next one asks for.
    """
    rows = rows.filter(kept_at__lt=before).exclude(body=None)
    here = Q(snapshot__backup=None) | Q(snapshot__backup__storage=DATABASE)
    for others in (
        Span.objects.filter(Q(last=None) | Exists(_backups_in(storage=DATABASE)), document=OuterRef("pk")),
        SnapshotEntry.objects.filter(here, document=OuterRef("pk")),
        SnapshotCompanion.objects.filter(here, document=OuterRef("pk")),
    ):
        rows = rows.exclude(Exists(others))
    for relation in Document._meta.get_fields(include_hidden=True):
        if isinstance(relation, ForeignObjectRel) and relation.related_model not in OF_BACKUPS:
            found: Any = relation.related_model._base_manager
            rows = rows.exclude(Exists(found.filter(**{relation.field.name: OuterRef("pk")})))
    return rows


def superfluous(before: datetime) -> QuerySet[DocumentCopy]:
    """Copies whose document is gone, or that no backup in their storage needs and are not the only place it is in."""
    is_there = Document.objects.filter(pk=OuterRef("document_id"))
    other = DocumentCopy.objects.filter(document=OuterRef("document_id")).exclude(pk=OuterRef("pk"))
    safe = Exists(is_there.exclude(body=None)) | Exists(other)
    storage = {"snapshot__backup__storage": OuterRef("storage")}
    is_needed = (
        Exists(
            Span.objects.filter(
                Exists(_backups_in(storage=OuterRef(OuterRef("storage")))), document=OuterRef("document_id")
            )
        )
        | Exists(SnapshotEntry.objects.filter(document=OuterRef("document_id"), **storage))
        | Exists(SnapshotCompanion.objects.filter(document=OuterRef("document_id"), **storage))
    )
    return DocumentCopy.objects.filter(kept_at__lt=before).filter(~Exists(is_there) | (safe & ~is_needed))


def _backups_in(storage: Any) -> QuerySet[Backup]:
    """In a query of spans: the backups in a storage that have the span."""
    return Backup.objects.filter(
        environment=OuterRef("environment"),
        snapshot__in_spans=True,
        storage=storage,
        snapshot_id__gte=OuterRef("first"),
        snapshot_id__lte=Coalesce(OuterRef("last"), Value(ENDLESS), output_field=BigIntegerField()),
    )
