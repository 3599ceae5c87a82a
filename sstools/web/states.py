"""The words, signs and tones of every state. A state never differs by its colour alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    word: str
    icon: str
    tone: str  # same, changed, added, removed, blocked, info, plain: classes tone-* of app.css
    extra: str = ""  # ringed, dashed
    help: str = ""


LOOKS: dict[str, Look] = {
    # of an asset in an environment, against the reference
    "in_sync": Look("in sync", "check", "same", help="Nothing to do."),
    "behind": Look("behind", "arrow-down", "changed", help="The source moved on: safe to bring over."),
    "drifted": Look(
        "drifted", "arrow-up", "changed", "ringed", "Edited on the target: bringing it over loses that."
    ),
    "diverged": Look("diverged", "crossed", "blocked", help="Both sides moved: decide."),
    "differs": Look("differs", "tilde", "changed", help="Different, and it is not known which side moved."),
    "absent": Look("absent", "plus", "plain", help="Not on the target: would be created."),
    "only_here": Look("only here", "minus", "plain", help="Not on the source: never removed unless asked."),
    "unknown": Look("unknown", "question", "plain", "dashed", "Not read yet, or too long ago."),
    "read_failed": Look("read failed", "alert", "removed", help="The environment could not be read."),
    # of an asset in a comparison
    "changed": Look("changed", "tilde", "changed"),
    "added": Look("added", "plus", "added", help="Only on the left: a migration would create it."),
    "gone": Look("removed", "minus", "removed", help="Only on the right: a migration leaves it as it is."),
    # of a line in a plan
    "create": Look("create", "plus", "added"),
    "update": Look("update", "tilde", "changed"),
    "keep": Look("keep", "shield-check", "same"),
    "adopt": Look("adopt", "link", "info"),
    "same": Look("same", "equal", "same"),
    "removed": Look("remove", "minus", "removed"),
    "blocked": Look("blocked", "blocked", "blocked"),
    "left_out": Look("left out", "skip", "plain"),
    "mapped": Look("mapped", "arrow-right", "info"),
    # of a chart after a run
    "ok": Look("ok", "check", "added"),
    "failed": Look("failed", "x", "removed"),
    "failed_on_both": Look("fails on both", "not-equal", "plain", help="Broken before already."),
    "was_broken": Look("was broken", "not-equal", "plain", help="Broken before the run already."),
    "not_checkable": Look("not checkable", "question", "plain", "dashed"),
    "slower": Look("slower", "clock", "changed"),
    # of a job
    "queued": Look("queued", "clock", "plain"),
    "running": Look("running", "sync", "info"),
    "succeeded": Look("succeeded", "check", "added"),
    "cancelled": Look("cancelled", "skip", "plain"),
    "cancelling": Look("cancelling", "skip", "changed"),
    "needs_input": Look("needs input", "question", "changed"),
    # of a cluster of workers
    "alive": Look("alive", "check", "added"),
    "silent": Look("not seen", "alert", "removed"),
    # of a schedule and its runs
    "on": Look("on", "check", "added"),
    "late": Look("late", "hourglass", "changed", "ringed", "It should have started by now."),
    "failing": Look("failing", "x-circle", "removed"),
    "paused": Look("paused", "stop", "plain"),
    "missed": Look("missed", "skip", "changed"),
    "skipped": Look("skipped", "skip", "plain"),
    "not_started": Look("not started", "no-entry", "removed"),
    # of a backup, and of what is in it
    "good": Look("good", "check", "added"),
    "corrupt": Look(
        "corrupt", "not-equal", "removed", "ringed", "Some of its documents are missing or damaged."
    ),
    "deleted": Look(
        "deleted since", "minus", "plain", help="Not there any more: a restore would bring it back."
    ),
    # of a migration and its runs
    "draft": Look("draft", "draft", "plain"),
    "planned": Look("planned", "tasks", "info"),
    "waiting": Look("waiting for approval", "clock", "changed"),
    "approved": Look("approved", "shield-check", "added"),
    "applying": Look("applying", "sync", "info"),
    "verifying": Look("verifying", "eye", "info"),
    "done": Look("done", "check", "added"),
    "rolled_back": Look("rolled back", "undo", "plain"),
    "needs_attention": Look("needs attention", "alert", "removed"),
    "accepted": Look("left as it is", "check", "plain"),
    "discarded": Look("discarded", "x", "plain"),
    "stale": Look("stale", "alert", "changed"),
    "waiting_for_target": Look("waiting for the target", "clock", "plain"),
    "restore_point": Look("restore point", "backups", "info"),
    "writing": Look("writing", "sync", "info"),
    "reading_back": Look("reading back", "sync", "info"),
    "applied": Look("applied", "check", "added"),
    "stopped": Look("stopped before writing", "skip", "plain"),
    # of an environment
    "reached": Look("reached", "check", "added"),
    "unreachable": Look("unreachable", "cloud-off", "removed"),
    "refused": Look("refused", "no-entry", "removed"),
    "untested": Look("not tested", "question", "plain", "dashed"),
    # of a plugin
    "plugin_on": Look("on", "check", "added"),
    "plugin_off": Look("off", "x", "plain", help="Installed, and enabled nowhere."),
    "plugin_ill": Look("not well", "alert", "changed", help="It says that something is wrong."),
    "plugin_broken": Look("cannot be used", "x-circle", "removed", help="It could not be loaded."),
    "plugin_gone": Look("not installed", "minus", "plain", "dashed", "What it left is still there."),
    "plugin_new": Look("not looked at", "question", "plain", "dashed"),
    # of anything that is on or off, and of findings
    "enabled": Look("on", "check", "added"),
    "disabled": Look("off", "x", "plain"),
    "error": Look("error", "x-circle", "removed"),
    "warning": Look("warning", "alert", "changed"),
    "info": Look("note", "info", "info"),
}
ALIASES = {
    "unchanged": "same",
    "equal": "same",
    "remove": "removed",
    "delete": "removed",
    "exclude": "left_out",
    "leave_out": "left_out",
    "waiting_for_approval": "waiting",
    "stopped_before_writing": "stopped",
    "pending": "queued",
    "critical": "error",
}
UNKNOWN = Look("", "dot", "plain")


def look(state: object) -> Look:
    """The look of a state by its name; case, spaces and dashes do not matter. An unknown one is shown as it is."""
    key = str(getattr(state, "value", state)).strip().lower().replace(" ", "_").replace("-", "_")
    key = ALIASES.get(key, key)
    return LOOKS.get(key) or Look(key.replace("_", " "), UNKNOWN.icon, UNKNOWN.tone)
