"""Who the directory says somebody is, and the user that this makes here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from sstools.audit import services as audit
from sstools.errors import SSToolsError
from sstools.roles import sync

from .models import Identity

logger = logging.getLogger(__name__)

#: What tells a person apart for good, best first: Entra's object id; the SID that ADFS can be told to send; and what
#: OpenID Connect promises. `sid` is not among them: it is the number of a session.
SUBJECT_CLAIMS = ("oid", "primarysid", "sub")
USERNAME_LENGTH = 150


class SignInRefused(SSToolsError):
    """The directory knows this person, and ss-tools does not let them in."""

    code, status, message = "sign_in_refused", 403, "You cannot sign in with this account."
    remedy = "Ask an administrator of ss-tools."

    def __init__(self, message: str = "", *, about: Any = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.about = about  # the user here that it is about, for the history


@dataclass(frozen=True)
class Person:
    """What a valid token says. `issued_at`: aware, UTC. `groups`: as the directory names them."""

    issuer: str
    subject: str
    username: str
    first_name: str
    last_name: str
    email: str
    groups: tuple[str, ...]
    issued_at: datetime


def person_of(claims: dict[str, Any], groups: list[Any]) -> Person:
    """Raises SignInRefused if the token does not say who it is about."""
    wanted = [settings.SSO_SUBJECT_CLAIM] if settings.SSO_SUBJECT_CLAIM else SUBJECT_CLAIMS
    subject = next((str(claims[name]) for name in wanted if claims.get(name)), "")
    username = str(claims.get(settings.SSO_USERNAME_CLAIM) or "").strip()
    if not subject or not username:
        missing = settings.SSO_USERNAME_CLAIM if subject else " or ".join(wanted)
        raise SignInRefused(
            f"The directory's token lacks the claim {missing}.",
            code="claim_missing",
            remedy="An administrator of the directory can add it to the tokens of ss-tools.",
        )
    issued = claims.get("iat")
    email = str(claims.get("email") or "").strip()
    try:
        validate_email(email)
    except ValidationError:  # a wrong address is no reason to keep somebody out
        email = ""
    return Person(
        issuer=str(claims["iss"]),
        subject=subject[:300],
        username=username,
        first_name=str(claims.get("given_name") or "").strip()[:150],
        last_name=str(claims.get("family_name") or "").strip()[:150],
        email=email[:254],
        groups=tuple(str(group) for group in groups),
        issued_at=datetime.fromtimestamp(issued, UTC) if isinstance(issued, int | float) else timezone.now(),
    )


def user_for(person: Person, *, via: str) -> Any:
    """The user of this person, made at the first sign-in, with names and groups as the directory has them now.

    via: "sign-in" for pages, "api" for a bearer token; goes into the history. A token that is older than the one that
    groups were last taken from changes nothing: it would bring back a group that was taken away since.

    Raises SignInRefused: the account is switched off here, or a local account has that name.
    """
    try:
        with transaction.atomic():
            return _user_for(person, via)
    except IntegrityError:  # two first requests of the same person at once
        with transaction.atomic():
            return _user_for(person, via)


def _user_for(person: Person, via: str) -> Any:
    identity = (
        Identity.objects.select_for_update()
        .select_related("user")
        .filter(issuer=person.issuer, subject=person.subject)
        .first()
    )
    if identity is None:
        identity = _first_time(person, via)
    user = identity.user
    if not user.is_active:
        raise SignInRefused("Your account is switched off in ss-tools.", code="switched_off", about=user)
    if identity.token_issued_at is not None and person.issued_at < identity.token_issued_at:
        return user
    _take_over_names(user, person, identity)
    if (
        via == "sign-in" or identity.token_issued_at != person.issued_at
    ):  # the same token again says nothing new
        sync.apply_groups(user, person.groups)
        identity.token_issued_at = person.issued_at
    identity.seen_at = timezone.now()
    identity.save(update_fields=["name", "seen_at", "token_issued_at"])
    return user


def _first_time(person: Person, via: str) -> Identity:
    users = get_user_model()._default_manager
    if len(person.username) > USERNAME_LENGTH:
        raise SignInRefused("The directory's user name is too long for ss-tools.", code="name_invalid")
    try:
        UnicodeUsernameValidator()(_plain(person.username))
    except ValidationError:
        raise SignInRefused(
            "The directory's user name has characters that ss-tools does not take.", code="name_invalid"
        ) from None
    if (other := users.filter(username__iexact=_plain(person.username)).first()) is not None:
        logger.warning("%s of the directory is refused: there is user %s", person.username, other.pk)
        raise SignInRefused(
            f"There is another account called {person.username} in ss-tools; it is not yours by its name alone.",
            code="name_taken",
            about=other,
            remedy="An administrator of ss-tools can remove or rename that account, or bind it to you.",
        )
    user = users.create_user(_plain(person.username), password=None)
    identity = Identity.objects.create(
        user=user, issuer=person.issuer, subject=person.subject, name=person.username[:300]
    )
    audit.record("user:create", user, actor=user, data={"from": person.issuer}, source=via)
    return identity


def _plain(username: str) -> str:
    """`CORP\\anna` as `CORP/anna` would fail Django's rule for names: the part after the domain is the name."""
    return username.rsplit("\\", 1)[-1]


def _take_over_names(user: Any, person: Person, identity: Identity) -> None:
    identity.name = person.username[:300]
    values = {"first_name": person.first_name, "last_name": person.last_name, "email": person.email}
    users = get_user_model()._default_manager
    name = _plain(person.username)
    if name != user.username and not users.filter(username__iexact=name).exclude(pk=user.pk).exists():
        values["username"] = name[:USERNAME_LENGTH]  # married, moved: the person is the same
    changed = {field: value for field, value in values.items() if value and getattr(user, field) != value}
    for field, value in changed.items():
        setattr(user, field, value)
    if changed:
        user.save(update_fields=list(changed))
