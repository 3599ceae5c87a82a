from sstools.state.tables import leave_out

from .models import AuditChain, AuditEvent

leave_out(
    "the history has an export of its own, and a chain that nothing is added to later", AuditChain, AuditEvent
)
