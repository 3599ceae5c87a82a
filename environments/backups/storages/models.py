"""What is in which storage."""

from django.db import models
from django.utils import timezone

from environments.models import Document


class DocumentCopy(models.Model):
    """A document as an object of a storage.

    Not a reference that keeps the document: documents go when nothing needs them, and the copies of those that went
    are what is to be deleted (rows first, objects after). `key` is used once, also for the same document, so that what
    is deleted late is never what somebody has just written. `size` and `sha256` are of the object as it is stored.
    """

    document = models.ForeignKey(
        Document, on_delete=models.DO_NOTHING, db_constraint=False, related_name="copies"
    )
    storage = models.CharField(max_length=50)
    key = models.CharField(max_length=200)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    stored_at = models.DateTimeField(default=timezone.now)
    # When somebody last asked to keep it: what nothing needs is removed, but not while it is about to be needed.
    kept_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "document copies"
        constraints = [
            models.UniqueConstraint(fields=["document", "storage"], name="one_copy_in_each_storage"),
            models.UniqueConstraint(fields=["storage", "key"], name="one_document_for_each_key"),
        ]

    def __str__(self) -> str:
        return f"{self.storage}:{self.key}"


class Manifest(models.Model):
    """The list of a backup's contents as an object beside its documents: what makes a storage readable without us.

    `snapshot` is the uuid of the backup's snapshot; a manifest whose snapshot is gone is to be deleted.
    """

    snapshot = models.UUIDField()
    storage = models.CharField(max_length=50)
    key = models.CharField(max_length=200)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    stored_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["snapshot", "storage"], name="one_manifest_in_each_storage"),
        ]

    def __str__(self) -> str:
        return f"{self.storage}:{self.key}"
