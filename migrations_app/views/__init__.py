"""Pages of migrations: one module per step, all standing on `common`."""

from .apply import migration_apply
from .damage import environment_damage
from .item import migration_item
from .list import migration_detail, migration_discard, migration_edit, migration_list
from .map import migration_map
from .new import migration_add, migration_new
from .plan import migration_answer, migration_override, migration_plan
from .progress import migration_cancel, plan_progress, run_progress
from .promote import migration_promote
from .prune import migration_prune
from .select import migration_select
from .verify import (
    migration_accept,
    migration_look_again,
    migration_retry_rest,
    migration_rollback,
    migration_verify,
    migration_verify_again,
)

__all__ = [
    "environment_damage",
    "migration_accept",
    "migration_add",
    "migration_answer",
    "migration_apply",
    "migration_cancel",
    "migration_detail",
    "migration_discard",
    "migration_edit",
    "migration_item",
    "migration_list",
    "migration_look_again",
    "migration_map",
    "migration_new",
    "migration_override",
    "migration_plan",
    "migration_promote",
    "migration_prune",
    "migration_retry_rest",
    "migration_rollback",
    "migration_select",
    "migration_verify",
    "migration_verify_again",
    "plan_progress",
    "run_progress",
]
