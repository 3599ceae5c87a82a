from sstools.state.tables import leave_out

from .models import FileAudit

leave_out("is done again", FileAudit)
