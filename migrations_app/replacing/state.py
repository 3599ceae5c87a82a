from sstools.state.tables import leave_out

from .models import Replacement

leave_out("of migrations, which are not in it", Replacement)
