"""What may be entered for an environment. One place for page, API, admin and commands."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.text import slugify

from sstools.secrets import Secret

from .certificates import read_certificates
from .credentials import problem_of
from .models import AuthKind, Environment, Position
from .superset.auth import TokenAuth
from .superset.errors import SupersetRefused
from .superset.transport import parse_url

# What a caller may set. Secrets are in their own two fields and never come back out.
PLAIN_FIELDS = (
    "name",
    "slug",
    "tag",
    "url",
    "position",
    "colour",
    "protected",
    "scratch",
    "auth_kind",
    "username",
    "ca_certificate",
    "proxy_url",
    "read_timeout_seconds",
    "import_timeout_seconds",
    "max_parallel",
)
CREDENTIAL_FIELDS = ("secret", "secret_reference")
RESERVED_SLUGS = frozenset({"new", "add", "edit", "all"})  # words in addresses of pages
Errors = dict[str, list[str]]

_USUAL_TAGS = {1: "DEV", 2: "STAGE", 3: "PROD"}
_DEFAULT_COLOURS = {1: "dev", 2: "stage", 3: "prod"}


def apply(environment: Environment, data: Mapping[str, Any]) -> Errors:
    """Put `data` into `environment` (not saved) and say what is wrong, by field; empty if all is well.

    Only the fields in `data` change. An empty secret means: keep the one that is stored.
    """
    errors: Errors = {}
    for name in data.keys() - {*PLAIN_FIELDS, *CREDENTIAL_FIELDS}:
        errors.setdefault(name, []).append("There is no such field.")
    before = _target(environment) if environment.pk else None
    kind_before = environment.auth_kind if environment.pk else None
    for name in PLAIN_FIELDS:
        if name in data:
            value = data[name]
            setattr(environment, name, value.strip() if isinstance(value, str) else value)
    _fill_in(environment, data)
    _check_address(environment, errors)
    _check_certificate(environment, errors)
    _apply_credential(environment, data, errors, before, kind_before)
    _check_scratch(environment, errors)
    _check_model(environment, errors)
    if environment.slug in RESERVED_SLUGS:
        errors.setdefault("slug", []).append("This word is taken by a page of ss-tools.")
    return errors


def clean_url(url: str) -> str:
    """An address as it is kept: without the page somebody copied it from, without a slash at the end.

    Raises ValueError, as a sentence, for what is not the address of a Superset: other schemes, credentials, a query.
    """
    try:
        origin, path = parse_url(url)
    except SupersetRefused as exc:
        raise ValueError(exc.message) from None
    parts = urlsplit(url.strip())
    if parts.query or parts.fragment:
        raise ValueError("The address must end before the question mark or hash; only host and path count.")
    return origin + path


def _fill_in(environment: Environment, data: Mapping[str, Any]) -> None:
    """What follows from the rest where nobody said it; production is protected unless somebody says otherwise."""
    if not environment.slug:
        environment.slug = slugify(environment.name)[:50].strip("-")
    if not environment.tag:
        usual = _USUAL_TAGS.get(environment.position)
        taken = usual is None or Environment.objects.exclude(pk=environment.pk).filter(tag=usual).exists()
        environment.tag = environment.name.upper()[:12].strip() if taken else str(usual)
    if environment.pk is None:
        if "colour" not in data:
            environment.colour = _DEFAULT_COLOURS.get(environment.position, "dev")
        if "protected" not in data:
            environment.protected = environment.position == Position.PROD and not environment.scratch


def _check_address(environment: Environment, errors: Errors) -> None:
    for name in ("url", "proxy_url"):
        value = getattr(environment, name)
        if name == "proxy_url" and not value:
            continue
        try:
            setattr(environment, name, clean_url(value))
        except ValueError as exc:
            text = str(exc)
            if name == "proxy_url" and "@" in value:
                text = "The address must not hold a user or a password: it is shown. Use a proxy that asks for none."
            errors.setdefault(name, []).append(text)


def _check_certificate(environment: Environment, errors: Errors) -> None:
    if not environment.ca_certificate:
        return
    environment.ca_certificate = environment.ca_certificate.replace("\r\n", "\n") + "\n"
    try:
        read_certificates(environment.ca_certificate)
    except ValueError as exc:
        errors.setdefault("ca_certificate", []).append(str(exc))
        if "PRIVATE KEY" in environment.ca_certificate:
            environment.ca_certificate = ""  # it must not come back in a form either


def _apply_credential(
    environment: Environment,
    data: Mapping[str, Any],
    errors: Errors,
    before: tuple[str, str, str] | None,
    kind_before: str | None,
) -> None:
    secret = str(data.get("secret") or "")
    reference = str(data.get("secret_reference") or "").strip()
    if secret and reference:
        errors.setdefault("secret_reference", []).append("Enter the secret or name where it is, not both.")
        return
    if secret:
        environment.secret, environment.secret_reference = Secret(secret), ""
    elif reference:
        environment.secret, environment.secret_reference = "", reference
    elif "secret_reference" in data:
        environment.secret_reference = ""
    if environment.secret_reference and (problem := problem_of(environment.secret_reference)):
        errors.setdefault("secret_reference", []).append(problem)
    is_token = environment.auth_kind == AuthKind.TOKEN
    if is_token:
        environment.username = ""
        _check_token(secret, errors)
    elif not environment.username:
        errors.setdefault("username", []).append("This is needed to sign in.")
    if not environment.secret and not environment.secret_reference:
        what = "The token" if is_token else "The password"
        errors.setdefault("secret", []).append(f"{what} is needed, or a reference to where it is.")
    elif environment.secret and not secret and before is not None:
        # Otherwise whoever may edit an address could have the stored secret sent to a machine of their own.
        if _target(environment) != before:
            errors.setdefault("secret", []).append(
                "Enter it again: the address, proxy or certificate changed, and it would be sent to another place."
            )
        elif (kind_before == AuthKind.TOKEN) != is_token:
            errors.setdefault("secret", []).append("Enter it: another kind of sign-in needs another secret.")


def _check_token(secret: str, errors: Errors) -> None:
    if not secret:
        return
    try:
        TokenAuth(secret)
    except ValueError as exc:
        errors.setdefault("secret", []).append(str(exc))


def _target(environment: Environment) -> tuple[str, str, str]:
    """What decides who gets to see the secret."""
    parts = urlsplit(environment.url)
    return f"{parts.scheme}://{parts.netloc}".lower(), environment.proxy_url, environment.ca_certificate


def _check_scratch(environment: Environment, errors: Errors) -> None:
    """What may be replaced at any time is nobody's production, also not under another name."""
    same = Environment.objects.exclude(pk=environment.pk).filter(url__iexact=environment.url)
    if environment.scratch:
        if environment.protected:
            errors.setdefault("scratch", []).append(
                "It is protected: everything in a scratch environment may be replaced."
            )
        if environment.position == Position.PROD:
            errors.setdefault("scratch", []).append("Production is never scratch.")
        same = same.filter(scratch=False)
    else:
        same = same.filter(scratch=True)
    if (other := same.first()) is not None:
        errors.setdefault("scratch", []).append(
            f"{other.name} is the same Superset, and is {'no' if environment.scratch else 'a'} scratch environment."
        )


def _check_model(environment: Environment, errors: Errors) -> None:
    try:
        environment.full_clean(exclude={"created_by", *errors})
    except ValidationError as exc:
        for name, messages in exc.message_dict.items():
            errors.setdefault(name, []).extend(messages)
    if not re.search(r"[a-z]", environment.slug) and environment.slug:
        errors.setdefault("slug", []).append(
            "It needs a letter: numbers alone would be taken for a run or a backup."
        )
