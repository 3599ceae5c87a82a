"""What is known of pairs of environments, in the state."""

from sstools.state.tables import leave_out, table

from .comparing.models import UploadedAsset, UploadedBundle, Viewed
from .models import (
    Baseline,
    Bystander,
    CompanionBaseline,
    Mapping,
    Migration,
    Pairing,
    Plan,
    PlanCompanion,
    PlanItem,
    Run,
    RunStep,
    Verdict,
)

table(Mapping, ("target", "source"), "mappings")
table(Pairing, ("target", "source", "source_uuid"), "pairings")
table(Baseline, ("target", "uuid"), "contents that runs left", leaves=("run",), of=("target",))
table(
    CompanionBaseline,
    ("target", "uuid"),
    "companions that runs left",
    leaves=("run",),
    of=("target",),
)
leave_out(
    "migrations are over, or are planned again; what their runs left, and their restore points, are in it",
    Migration,
    Plan,
    PlanItem,
    PlanCompanion,
    Run,
    RunStep,
    Verdict,
    Bystander,
)
leave_out("files are kept for days only", UploadedBundle, UploadedAsset)
leave_out("marks of what somebody looked at", Viewed)
