"""Repositories in the state."""

from sstools.state.tables import leave_out, table

from .models import CommitAsset, CommitReading, Repository

table(Repository, ("uuid",), "git repositories", leaves=("refs", "fetched_at", "can_push", "error"))
leave_out("are read again from their repositories", CommitReading, CommitAsset)
