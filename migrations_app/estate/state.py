from sstools.state.tables import leave_out, table

from .models import Pair, SavedView, Selection, SyncState

table(SavedView, ("user", "page", "name"), "saved views")
leave_out("is compared again after the next reading", Pair, SyncState)
leave_out("of the moment", Selection)
