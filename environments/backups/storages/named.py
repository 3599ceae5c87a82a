"""The storages that this ss-tools has, by name. `database` is the one that needs nothing."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.signals import setting_changed

from .base import Storage
from .envelope import Envelope
from .errors import StorageNotSetUp
from .folder import FolderStorage

DATABASE = "database"
FOLDER = "folder"
S3 = "s3"
NAMES = (DATABASE, FOLDER, S3)


def default() -> str:
    """The name of the storage that backups go to where nobody says otherwise."""
    return str(settings.BACKUP_STORAGE)


def available() -> list[str]:
    """Names of the storages that are set up."""
    return [
        DATABASE,
        *([FOLDER] if settings.BACKUP_FOLDER else []),
        *([S3] if settings.BACKUP_S3["bucket"] else []),
    ]


def require(name: str) -> str:
    """The name, if such a storage is set up. Raises StorageNotSetUp."""
    if name not in available():
        known = ", ".join(available())
        raise StorageNotSetUp(f"The storage {name} is not set up. There are: {known}.")
    return name


def get(name: str) -> Storage:
    """A storage other than the database. Raises StorageNotSetUp."""
    return _made(require(name))


def envelope() -> Envelope:
    return Envelope(settings.BACKUP_ENCRYPTION_KEYS)


def seconds() -> float:
    """How long a call may take."""
    return float(settings.BACKUP_STORAGE_TIMEOUT_SECONDS)


@lru_cache(maxsize=len(NAMES))
def _made(name: str) -> Storage:
    if name == FOLDER:
        return FolderStorage(FOLDER, Path(settings.BACKUP_FOLDER))
    # Half a second and 20 MB that only those pay who have one.
    from .s3 import BucketStorage

    return BucketStorage(S3, **settings.BACKUP_S3, seconds=seconds())


def _forget(setting: str, **_: object) -> None:
    if setting.startswith("BACKUP_"):
        _made.cache_clear()


setting_changed.connect(_forget)  # only tests change settings
