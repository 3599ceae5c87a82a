"""Where a repository is, and what its branches may be called. Light: what talks to servers takes long to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from dulwich.refs import Ref, check_ref_format

from sstools.errors import Invalid

from .errors import NoSuchRepository

HEADS = b"refs/heads/"


@dataclass(frozen=True)
class Remote:
    """Where a repository is, and how to sign in there. `secret`: a token or password for HTTPS, a private key for SSH.

    `host_key`: the server's public key as known_hosts has it ("ssh-ed25519 AAAA…"), for SSH only.
    """

    url: str
    username: str = ""
    secret: str = ""
    host_key: str = ""


def check_branch(name: str) -> str:
    """A branch's name, if git takes it and no program can mistake it for an option. Raises Invalid("branch_name")."""
    try:
        ok = check_ref_format(Ref(HEADS + name.encode())) and name.isprintable()
    except UnicodeEncodeError:
        ok = False
    if not ok or name.startswith("-") or len(name) > 200 or name == "HEAD" or name.startswith("refs/"):
        raise Invalid(
            f"“{name[:80]}” is no name for a branch.",
            code="branch_name",
            remedy="Use letters, digits, and - _ . / between them.",
            errors={"branch": ["Not a name for a branch."]},
        )
    return name


def folder_of(url: str) -> Path:
    """The folder of a file:// address. Raises Invalid unless it is below one that SSTOOLS_GIT_FOLDERS names."""
    path = Path(urlsplit(url).path)
    allowed = [Path(folder).resolve() for folder in settings.GIT_FOLDERS]
    # Resolved, so that neither ".." nor a link leads out.
    if not path.is_absolute() or not any(path.resolve().is_relative_to(folder) for folder in allowed):
        where = ", ".join(settings.GIT_FOLDERS) or "none"
        raise Invalid(
            f"ss-tools may not use that folder: repositories may be in {where}.",
            code="folder_not_allowed",
            remedy="An administrator of the machine can allow it in SSTOOLS_GIT_FOLDERS.",
        )
    if not path.is_dir():
        raise NoSuchRepository(f"There is no folder {path}.", remedy="Make it with git init --bare.")
    return path
