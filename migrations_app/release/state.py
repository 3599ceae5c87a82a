"""Routes and rules in the state."""

from sstools.state.tables import leave_out, table

from .models import Bypass, Decision, FreezePeriod, Protection, Route, RouteUse

table(Route, ("uuid",), "routes")
table(Route.users.through, ("route", "user"), "approvers of routes", of=("route",))
table(Route.groups.through, ("route", "group"), "approving groups of routes", of=("route",))
table(Route.webhooks.through, ("route", "webhook"), "webhooks of routes", of=("route",))
table(Protection, ("environment",), "rules of environments", of=("environment",))
table(Protection.users.through, ("protection", "user"), "approvers of environments", of=("protection",))
table(
    Protection.groups.through, ("protection", "group"), "approving groups of environments", of=("protection",)
)
table(FreezePeriod, ("uuid",), "freezes", of=("environment",))
leave_out("of migrations, which are not in it", RouteUse, Decision, Bypass)
