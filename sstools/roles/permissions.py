"""Permissions and built-in roles, as data."""

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """`noun:verb`, in alphabetical order."""

    ACCESS_EDIT = "access:edit"  # grants, other people's tokens
    ACCESS_VIEW = "access:view"
    ASSET_VIEW = "asset:view"
    AUDIT_VIEW = "audit:view"
    BACKUP_CREATE = "backup:create"
    BACKUP_EDIT = "backup:edit"  # delete, unpin, title and notes, how long they are kept
    BACKUP_PIN = "backup:pin"
    BACKUP_VIEW = "backup:view"
    DRIFT_ACCEPT = "drift:accept"  # what somebody edited on a target may stay
    ENVIRONMENT_EDIT = "environment:edit"  # register, change, remove; credentials
    ENVIRONMENT_TEST = "environment:test"  # ask it something: connection test, reading the inventory
    ENVIRONMENT_VIEW = "environment:view"
    JOB_CANCEL = "job:cancel"  # other people's; one's own always
    JOB_VIEW = "job:view"  # other people's; one's own always
    MIGRATION_APPLY = "migration:apply"
    MIGRATION_APPROVE = "migration:approve"  # plans of others, never one's own
    MIGRATION_BYPASS = "migration:bypass"  # outside of windows, with a reason
    MIGRATION_PLAN = "migration:plan"
    MIGRATION_PRUNE = "migration:prune"  # removing what the source no longer has
    MIGRATION_ROLLBACK = "migration:rollback"
    MIGRATION_VIEW = "migration:view"
    PLUGIN_EDIT = "plugin:edit"  # enable, configure, forget
    PLUGIN_RUN = "plugin:run"
    PLUGIN_VIEW = "plugin:view"  # which there are, and what their jobs found
    REPOSITORY_COMMIT = "repository:commit"  # assets of an environment to git
    REPOSITORY_EDIT = "repository:edit"  # register, change, remove; credentials
    REPOSITORY_VIEW = "repository:view"  # on everything: what is in git is of no one environment
    ROUTE_EDIT = "route:edit"
    SCHEDULE_EDIT = "schedule:edit"  # also pausing, running now, deleting
    SCHEDULE_VIEW = "schedule:view"
    WEBHOOK_EDIT = "webhook:edit"  # chats and programs that are told; their addresses are credentials


@dataclass(frozen=True)
class Role:
    """A named set of permissions. The built-in ones are below, custom ones are rows (models.CustomRole)."""

    key: str
    title: str
    description: str
    permissions: frozenset[Permission]
    is_builtin: bool = True


_VIEW = frozenset(
    {
        Permission.ASSET_VIEW,
        Permission.BACKUP_VIEW,
        Permission.ENVIRONMENT_VIEW,
        Permission.JOB_VIEW,
        Permission.MIGRATION_VIEW,
        Permission.PLUGIN_VIEW,
        Permission.REPOSITORY_VIEW,
        Permission.SCHEDULE_VIEW,
    }
)
_AUTHOR = _VIEW | {
    Permission.BACKUP_CREATE,
    Permission.ENVIRONMENT_TEST,
    Permission.MIGRATION_PLAN,
    Permission.PLUGIN_RUN,
    Permission.REPOSITORY_COMMIT,
    Permission.SCHEDULE_EDIT,
}
_RELEASE_LEAD = _AUTHOR | {
    Permission.AUDIT_VIEW,
    Permission.BACKUP_PIN,
    Permission.DRIFT_ACCEPT,
    Permission.JOB_CANCEL,
    Permission.MIGRATION_APPLY,
    Permission.MIGRATION_APPROVE,
    Permission.MIGRATION_ROLLBACK,
}

ROLES: dict[str, Role] = {
    role.key: role
    for role in (
        Role("viewer", "Viewer", "Sees environments, assets, migrations and jobs.", _VIEW),
        Role("author", "Author", "Also reads environments anew and makes plans.", _AUTHOR),
        Role(
            "release_lead",
            "Release lead",
            "Also applies, rolls back, cancels, reads the audit.",
            _RELEASE_LEAD,
        ),
        Role(
            "admin",
            "Admin",
            "Everything, also environments with their credentials, and grants.",
            frozenset(Permission),
        ),
    )
}

#: What each allows, for people.
MEANING: dict[Permission, str] = {
    Permission.ACCESS_EDIT: "giving and taking roles; on everything also people, groups and custom roles",
    Permission.ACCESS_VIEW: "seeing who may do what",
    Permission.ASSET_VIEW: "the inventory",
    Permission.AUDIT_VIEW: "who did what, and when",
    Permission.BACKUP_CREATE: "taking backups, having them verified",
    Permission.BACKUP_EDIT: "deleting, unpinning and editing backups; for how long they are kept",
    Permission.BACKUP_PIN: "pinning backups, so that no rule removes them",
    Permission.BACKUP_VIEW: "backups, what is in them, downloading it",
    Permission.DRIFT_ACCEPT: "letting stay what somebody edited on a target by hand",
    Permission.ENVIRONMENT_EDIT: "registering, changing, removing; credentials",
    Permission.ENVIRONMENT_TEST: "testing the connection, reading the inventory",
    Permission.ENVIRONMENT_VIEW: "seeing environments",
    Permission.JOB_CANCEL: "ending other people's jobs; one's own always",
    Permission.JOB_VIEW: "other people's jobs; one's own always",
    Permission.MIGRATION_APPLY: "writing to the target",
    Permission.MIGRATION_APPROVE: "approving and rejecting plans of others",
    Permission.MIGRATION_BYPASS: "applying outside of windows, with a reason",
    Permission.MIGRATION_PLAN: "making migrations and plans, verifying again",
    Permission.MIGRATION_PRUNE: "removing from a target what migrations brought and their source no longer has",
    Permission.MIGRATION_ROLLBACK: "rolling a run back",
    Permission.MIGRATION_VIEW: "migrations, plans and runs",
    Permission.PLUGIN_EDIT: "switching plugins on and off, their settings, forgetting what they left",
    Permission.PLUGIN_RUN: "running jobs of plugins",
    Permission.PLUGIN_VIEW: "seeing plugins, and what their jobs found",
    Permission.REPOSITORY_COMMIT: "committing assets of an environment to git",
    Permission.REPOSITORY_EDIT: "registering, changing, removing git repositories; credentials",
    Permission.REPOSITORY_VIEW: "seeing git repositories and what is in them",
    Permission.ROUTE_EDIT: "making and changing routes",
    Permission.SCHEDULE_EDIT: "making, changing, pausing, running and deleting schedules",
    Permission.SCHEDULE_VIEW: "seeing schedules",
    Permission.WEBHOOK_EDIT: "chats and programs that are told; their addresses are credentials",
}
