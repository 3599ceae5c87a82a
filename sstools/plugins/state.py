"""Plugins in the state: how they are set and where they are on. What they bring is told by their packages."""

from sstools.state.tables import leave_out, table

from .models import Enablement, Plugin, PluginResult

table(
    Plugin,
    ("name",),
    "plugins with their settings",
    leaves=("manifest", "problem", "failures", "health", "looked_at", "mark"),
)
table(Enablement, ("plugin", "scope"), "where plugins are switched on", of=("plugin",))
leave_out("tells of jobs, which are not in it", PluginResult)
