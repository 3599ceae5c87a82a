"""People, roles and grants in the state."""

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password

from sstools.signin.models import Identity, UserSession
from sstools.state.tables import leave_out, table

from .models import AccessLock, Account, ApiToken, CustomRole, Grant, Group, KeyCheck, Membership

table(
    get_user_model(),
    ("username",),
    "people",
    leaves=("last_login",),
    secret=("password",),
    empty={
        "password": lambda: make_password(None)
    },  # they get a new link to choose one, or sign in by the directory
    is_matched_only=True,
    may_be_there=True,
)
table(Account, ("user",), "accounts of people", of=("user",), may_be_there=True)
table(Identity, ("issuer", "subject"), "accounts of a directory", of=("user",), is_matched_only=True)
table(CustomRole, ("key",), "roles of one's own")
table(Group, ("name", "source"), "groups")
table(Membership, ("group", "user"), "memberships", of=("group", "user"), is_matched_only=True)
table(Grant, ("scope", "role", "user", "group"), "grants", is_matched_only=True)
table(
    ApiToken,
    ("hash",),
    "tokens",
    leaves=("last_used_at",),
    secret=("hash",),
    secret_rows=True,
    is_matched_only=True,
)
leave_out("belongs to this ss-tools", AccessLock, KeyCheck)
leave_out("everybody signs in again", UserSession)
