"""The instance's own keys: made at the first start when nobody gives them, and kept in the data folder."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet

from .env import SettingError


def kept_key(path: Path, make: Callable[[], str]) -> str:
    """The key in the file at `path`; made with `make` and written with mode 0600 if there is none.

    Several processes may start at once: the file appears complete or not at all, and all of them end up with the
    same key. Raises SettingError if the file can be neither read nor written.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                dir=path.parent, prefix=f".{path.name}."
            )  # mkstemp gives mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(make() + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.link(name, path)  # fails if another process was first, unlike a rename
            except FileExistsError:
                pass
            finally:
                os.unlink(name)
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise SettingError(
            f"SSTOOLS_DATA_DIR: {path.name} cannot be read or written: {exc.strerror}."
        ) from None


def new_secret_key() -> str:
    return secrets.token_urlsafe(50)


def new_field_key() -> str:
    return Fernet.generate_key().decode()


def checked_field_keys(text: str, setting: str) -> list[str]:
    """Comma-separated Fernet keys, the first one encrypts. Raises SettingError naming `setting` if one is malformed."""
    keys = [key.strip() for key in text.replace("\n", ",").split(",") if key.strip()]
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise SettingError(
                f"{setting}: key {number} is not a Fernet key (32 bytes, url-safe base64)."
            ) from None
    if not keys:
        raise SettingError(f"{setting} holds no key.")
    return keys
