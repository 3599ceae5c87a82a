"""How an environment signs in: the stored secret, or one that is kept elsewhere and only named here.

References are "env:NAME" (a variable of the processes of ss-tools) and "file:/path" (a mounted secret). They are read
at each connection, so a changed secret needs no restart where it is a file.
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

from django.conf import settings

from sstools.errors import SSToolsError
from sstools.secrets import Secret

from .models import AuthKind, Environment
from .superset.auth import Auth, PasswordAuth, SessionAuth, TokenAuth

MAX_SECRET_BYTES = (
    65_536  # a token of an identity provider may have several KB; a file of megabytes is a mistake
)


class CredentialMissing(SSToolsError):
    """What the reference points to is not there, or may not be used."""

    code, status = "credential_missing", 422
    message = "The credential of this environment cannot be found."
    remedy = (
        "Set the variable or the file on the machines of ss-tools (web and workers), or enter the secret."
    )


def auth_for(environment: Environment) -> Auth:
    """The way to sign in. Raises CredentialMissing; SecretUnreadable if the field keys are other ones by now."""
    secret = secret_of(environment)
    try:
        if environment.auth_kind == AuthKind.TOKEN:
            return TokenAuth(secret)
        if environment.auth_kind == AuthKind.SESSION:
            return SessionAuth(environment.username, secret)
        provider = "ldap" if environment.auth_kind == AuthKind.LDAP else "db"
        return PasswordAuth(environment.username, secret, provider=provider)
    except ValueError as exc:  # TokenAuth on something that cannot be a token; its words do not repeat it
        raise CredentialMissing(
            str(exc), code="credential_invalid", remedy="Enter the token again."
        ) from None


def secret_of(environment: Environment) -> Secret:
    """The password or token in clear: for signing in, and for nothing else. Raises CredentialMissing."""
    if environment.secret_reference:
        return resolve(environment.secret_reference)
    if not environment.secret:
        raise CredentialMissing(
            f"No password or token is stored for {environment.name}.", remedy="Edit it and enter one."
        )
    return Secret(environment.secret)


def resolve(reference: str) -> Secret:
    """What a reference stands for. Raises CredentialMissing."""
    if problem := problem_of(reference):
        raise CredentialMissing(problem, code="credential_not_allowed")
    scheme, _, name = reference.partition(":")
    value = _variable(name) if scheme == "env" else _file(Path(name))
    if not value:
        raise CredentialMissing(f"{reference} is empty.")
    return Secret(value)


def problem_of(reference: str) -> str:
    """What is wrong with a reference, as a sentence; "" for one that may be used. Does not look whether it is there."""
    scheme, _, name = reference.partition(":")
    if scheme not in ("env", "file") or not name:
        return "A reference is env:NAME or file:/path."
    if scheme == "env":
        if any(fnmatchcase(name, pattern) for pattern in settings.CREDENTIAL_VARIABLES):
            return ""
        allowed = ", ".join(settings.CREDENTIAL_VARIABLES)
        return f"The variable must be named like {allowed} (SSTOOLS_CREDENTIAL_VARIABLES)."
    if Path(name).resolve() in _own_secret_files():
        return "That file is a secret of ss-tools itself."
    folders = [Path(folder).resolve() for folder in settings.CREDENTIAL_FOLDERS]
    # Resolved, so that neither ".." nor a link leads out.
    if Path(name).is_absolute() and any(Path(name).resolve().is_relative_to(folder) for folder in folders):
        return ""
    return f"The file must be in {', '.join(settings.CREDENTIAL_FOLDERS)} (SSTOOLS_CREDENTIAL_FOLDERS)."


def _own_secret_files() -> set[Path]:
    """Containers have all secrets in one folder. Ours must not be sent to an address that somebody registers."""
    own = (
        value
        for name, value in os.environ.items()
        if name.startswith("SSTOOLS_") and name.endswith("_FILE") and value
    )
    return {Path(value).resolve() for value in own}


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise CredentialMissing(f"The variable {name} is not set.")
    return value.strip()


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        if len(content) > MAX_SECRET_BYTES:
            raise CredentialMissing(f"The file {path} is too large for a password or token.")
        return content.decode("utf-8").strip()
    except OSError as exc:
        raise CredentialMissing(f"The file {path} cannot be read: {exc.strerror}.") from None
    except UnicodeDecodeError:
        raise CredentialMissing(f"The file {path} is not text.") from None
