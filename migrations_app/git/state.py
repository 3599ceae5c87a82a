"""Repositories in the state."""

from sstools.state.tables import leave_out, table

from .models import CommitAsset, CommitReading, Follow, Hold, PullRequest, Repository

table(
    Repository,
    ("uuid",),
    "git repositories",
    leaves=("refs", "fetched_at", "can_push", "error", "hooks_seen"),
)
leave_out("are read again from their repositories", CommitReading, CommitAsset)
table(
    Follow,
    ("uuid",),
    "branches that are followed",
    leaves=("looked_at", "asked_at", "seen_sha", "outcome", "text", "migration"),
)
table(Hold, ("uuid",), "holds after roll backs")
leave_out("are on the forge", PullRequest)
