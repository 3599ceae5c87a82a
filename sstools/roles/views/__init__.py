"""Pages below /access/: who may do what. One module per kind of thing, all standing on `common`."""

from .grants import grant_edit, grant_list, grant_new, grant_take
from .groups import group_delete, group_detail, group_list, group_members, group_new
from .overview import own, own_sessions_end, try_user
from .roles import role_delete, role_detail, role_edit, role_list, role_new
from .tokens import own_tokens, program_new, token_end, user_tokens
from .users import (
    Password,
    user_detail,
    user_edit,
    user_link,
    user_list,
    user_new,
    user_sessions_end,
    user_switch,
)

__all__ = [
    "Password",
    "grant_edit",
    "grant_list",
    "grant_new",
    "grant_take",
    "group_delete",
    "group_detail",
    "group_list",
    "group_members",
    "group_new",
    "own",
    "own_sessions_end",
    "own_tokens",
    "program_new",
    "role_delete",
    "role_detail",
    "role_edit",
    "role_list",
    "role_new",
    "token_end",
    "try_user",
    "user_detail",
    "user_edit",
    "user_link",
    "user_list",
    "user_new",
    "user_sessions_end",
    "user_switch",
    "user_tokens",
]
