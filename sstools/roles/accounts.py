"""People: local users, who is switched off, and who may do everything.

A password is never chosen for somebody else: a new user gets a link, shown once, to choose one.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.signin import sessions

from . import policy
from .guard import keeps_an_administrator
from .models import Account, Source
from .services import require_edit

NAME_FIELDS = ("first_name", "last_name", "email")


@dataclass(frozen=True)
class Operator:
    """Whoever has a shell on this machine, for commands: may everything, and is called so in the history."""

    pk: None = None
    is_active: bool = True
    is_superuser: bool = True

    def get_username(self) -> str:
        return "operator"


OPERATOR = Operator()


def source_of(user: Any) -> str:
    """ "local" or "adfs": where somebody signs in."""
    account = Account.objects.filter(user_id=user.pk).first()
    return account.source if account else Source.LOCAL


def create_user(
    username: str,
    *,
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    actor: Any,
    source: str = "page",
) -> Any:
    """A local user without a password yet: `password_link` is where one is chosen. Raises NotAllowed; Invalid."""
    with keeps_an_administrator():
        require_edit(actor)
        username = username.strip()
        errors = _name_errors(first_name, last_name, email)
        try:
            UnicodeUsernameValidator()(username)
            if len(username) > 150:
                raise ValidationError("At most 150 characters.")
        except ValidationError as exc:
            errors["username"] = list(exc.messages)
        users = get_user_model()._default_manager
        if "username" not in errors and users.filter(username__iexact=username).exists():
            errors["username"] = ["There is such a user already."]
        if errors:
            raise Invalid("Some values are not right.", errors=errors)
        names = {"first_name": first_name.strip(), "last_name": last_name.strip(), "email": email.strip()}
        try:
            with transaction.atomic():
                user = get_user_model()._default_manager.create_user(username, password=None, **names)
        except IntegrityError:
            raise Invalid(
                "There is such a user already.", errors={"username": ["There is such a user already."]}
            ) from None
        audit.record("user:create", user, actor=actor, data={"username": username, **names}, source=source)
        return user


def create_service_account(name: str, *, description: str = "", actor: Any, source: str = "page") -> Any:
    """A user that is a program: it has roles and tokens, and no way to sign in. Raises NotAllowed; Invalid."""
    with keeps_an_administrator():
        user = create_user(name, first_name=description, actor=actor, source=source)
        Account.objects.update_or_create(user=user, defaults={"source": Source.PROGRAM})
        return user


def update_user(user: Any, *, actor: Any, source: str = "page", **names: str) -> Any:
    """Change first_name, last_name, email. Raises NotAllowed; Invalid."""
    with keeps_an_administrator():
        _require_over(actor, user)
        values = {name: getattr(user, name) for name in NAME_FIELDS} | {
            name: str(value).strip() for name, value in names.items() if name in NAME_FIELDS
        }
        if errors := _name_errors(**values):
            raise Invalid("Some values are not right.", errors=errors)
        before = {name: getattr(user, name) for name in NAME_FIELDS}
        if before != values:
            for name, value in values.items():
                setattr(user, name, value)
            user.save(update_fields=list(NAME_FIELDS))
            audit.record(
                "user:update", user, actor=actor, data={"before": before, "after": values}, source=source
            )
        return user


def set_active(user: Any, is_active: bool, *, actor: Any, source: str = "page") -> Any:
    """Switch somebody off, which ends sessions and tokens at once, or on again.

    Raises NotAllowed; Conflict("own_account"); LastAdministrator.
    """
    with keeps_an_administrator():
        _require_over(actor, user)
        if not is_active and user.pk == actor.pk:
            raise Conflict(
                "Nobody switches their own account off.",
                code="own_account",
                remedy="Another administrator can.",
            )
        if user.is_active != is_active:
            user.is_active = is_active
            user.save(update_fields=["is_active"])
            verb = "user:activate" if is_active else "user:deactivate"
            audit.record(verb, user, actor=actor, source=source)
            if not is_active:  # or an old one would count again once they are switched on
                sessions.end_all(user, actor=actor, why="switched_off", source=source)
        return user


def set_superuser(user: Any, is_superuser: bool, *, actor: Any, source: str = "page") -> Any:
    """Let somebody do everything and use the Django admin, or no more. Superusers alone may.

    Raises NotAllowed; LastAdministrator.
    """
    with keeps_an_administrator():
        _require_superuser(actor)
        if (user.is_superuser, user.is_staff) != (is_superuser, is_superuser):
            user.is_superuser = user.is_staff = is_superuser
            user.save(update_fields=["is_superuser", "is_staff"])
            audit.record(
                "user:superuser", user, actor=actor, data={"is_superuser": is_superuser}, source=source
            )
        return user


def delete_user(user: Any, *, actor: Any, source: str = "page") -> None:
    """Forget somebody with grants, tokens and preferences; history and what they made stay. Superusers alone may.

    Raises NotAllowed; Conflict("own_account"); LastAdministrator.
    """
    with keeps_an_administrator():
        _require_superuser(actor)
        if user.pk == actor.pk:
            raise Conflict("Nobody deletes their own account.", code="own_account")
        audit.record("user:delete", user, actor=actor, data={"username": user.get_username()}, source=source)
        user.delete()


# --- Passwords ----------------------------------------------------------------------------------------------------


def password_link(user: Any, *, actor: Any, source: str = "page") -> str:
    """The path of the page where `user` chooses a password, good once and for PASSWORD_RESET_TIMEOUT. Show it once.

    Raises NotAllowed; Conflict for somebody who is switched off ("switched_off") or signs in elsewhere
    ("directory_user") or is a program ("service_account").
    """
    with transaction.atomic():
        _require_over(actor, user)
        if not user.is_active:
            raise Conflict(
                f"{user} is switched off.", code="switched_off", remedy="Switch the account on first."
            )
        if (kind := source_of(user)) == Source.PROGRAM:
            raise Conflict(f"{user} is a program: it has tokens, and no password.", code="service_account")
        if kind != Source.LOCAL:
            raise Conflict(f"{user} signs in with the directory's password.", code="directory_user")
        audit.record("user:password_link", user, actor=actor, source=source)
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("roles:password", args=[uid, default_token_generator.make_token(user)])


def make_admin(username: str, password: str, *, source: str = "command") -> tuple[Any, bool]:
    """Break glass: a local superuser who can sign in, new or repaired. Returns the user, and whether it is new.

    Raises Conflict("directory_user") for an account of the directory; Invalid for a user name that cannot be one.
    """
    with keeps_an_administrator():
        users = get_user_model()._default_manager
        user = users.filter(username=username).first()
        is_new = user is None
        if user is None:
            user = create_user(username, actor=OPERATOR, source=source)
        if source_of(user) != Source.LOCAL:
            raise Conflict(
                f"{username} signs in through the directory.",
                code="directory_user",
                remedy="Choose another name: the account for emergencies must not depend on the directory.",
            )
        user.is_active = user.is_staff = user.is_superuser = True
        user.set_password(password)
        user.save()
        sessions.end_all(user, actor=OPERATOR, why="password", source=source)
        audit.record("user:make_admin", user, actor=OPERATOR, data={"new": is_new}, source=source)
        return user, is_new


# --- Sessions -----------------------------------------------------------------------------------------------------


def end_sessions(user: Any, *, actor: Any, keep: str | None = None, source: str = "page") -> int:
    """Sign somebody out of every browser, `keep`: but for that session. Tokens stay. Returns out of how many.

    One's own without any right. Raises NotAllowed, also for a token that was narrowed: it was made to do less.
    """
    with transaction.atomic():
        if actor.pk != user.pk:
            _require_over(actor, user)
        elif policy.is_narrowed(actor):
            raise NotAllowed("A token that was narrowed ends no sessions.", code="token_narrowed")
        return sessions.end_all(user, actor=actor, why="asked", keep=keep, source=source)


def _name_errors(first_name: str, last_name: str, email: str) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name, value in (("first_name", first_name), ("last_name", last_name)):
        if len(value.strip()) > 150:
            errors[name] = ["At most 150 characters."]
    if email.strip():
        try:
            validate_email(email.strip())
        except ValidationError as exc:
            errors["email"] = list(exc.messages)
    return errors


def _require_over(actor: Any, user: Any) -> None:
    """`access:edit`; for a superuser's account one must be a superuser: who can set its password is one."""
    require_edit(actor)
    if user.is_superuser:
        _require_superuser(actor)


def _require_superuser(actor: Any) -> None:
    if not policy.is_superuser(actor):
        raise NotAllowed("Only superusers change superusers.", remedy="Ask one, or use manage.py make_admin.")
