from sstools.state.tables import table

from .models import Preference

table(Preference, ("user",), "preferences of people", of=("user",), may_be_there=True)
