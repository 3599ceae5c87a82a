"""Backups in the state. Those that are being taken, and those that failed, hold nothing."""

from environments.models import Snapshot
from sstools.state.tables import leave_out, table

from .models import Backup, Policy, Span
from .storages.models import DocumentCopy, Manifest

table(
    Backup,
    ("snapshot",),
    "backups",
    leaves=("storage",),  # the file has the documents themselves: they are in the database then
    rows=lambda: Backup.objects.readable(),
    of=("environment",),
)
table(
    Span,
    ("environment", "kind", "uuid", "first"),
    "contents of backups",
    of=("environment",),
    follows={"first": Snapshot, "last": Snapshot},
)
table(Policy, ("environment",), "rules for keeping backups", of=("environment",))
leave_out("objects stay in their storage; the file holds what is in them", DocumentCopy, Manifest)
