from sstools.state.tables import leave_out, table

from .models import Check, Finding, Watch

table(Watch, ("route", "user"), "watched routes")
leave_out("is found again by the next check", Check, Finding)
