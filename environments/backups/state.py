"""Backups in the state. Those that are being taken, and those that failed, hold nothing."""

from environments.models import Snapshot
from sstools.state.tables import table

from .models import Backup, Policy, Span

table(Backup, ("snapshot",), "backups", rows=lambda: Backup.objects.readable(), of=("environment",))
table(
    Span,
    ("environment", "kind", "uuid", "first"),
    "contents of backups",
    of=("environment",),
    follows={"first": Snapshot, "last": Snapshot},
)
table(Policy, ("environment",), "rules for keeping backups", of=("environment",))
