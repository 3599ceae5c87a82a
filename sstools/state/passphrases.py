"""Where a passphrase comes from: a file or the terminal, never the command line, which all on a machine can see."""

import getpass
import sys
from pathlib import Path

from sstools.secrets import Secret

from .files import StateError


def passphrase_for(path: str, *, new: bool) -> Secret:
    """The first line of the file, else what is typed (twice for a `new` one). Raises StateError."""
    if path:
        try:
            text = Path(path).read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as exc:
            raise StateError(
                f"{path} cannot be read: {getattr(exc, 'strerror', exc)}.", code="no_passphrase"
            ) from None
    elif sys.stdin.isatty():
        text = getpass.getpass("Passphrase: ")
        if new and getpass.getpass("Once more: ") != text:
            raise StateError("The two are not the same.", code="no_passphrase", remedy="Nothing was written.")
    else:
        text = ""
    if not text:
        raise StateError(
            "There is no passphrase.", code="no_passphrase", remedy="Name a file with --passphrase-file."
        )
    return Secret(text)
