from sstools.state.tables import leave_out, table

from .models import FanOut, FanOutCopy, FanOutEntry, FanOutRun

table(FanOut, ("uuid",), "templates of fan-outs")
table(FanOutCopy, ("uuid",), "copies of fan-outs", of=("fan_out",))
leave_out("of migrations, which are not in it", FanOutRun, FanOutEntry)
