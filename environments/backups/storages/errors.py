"""What goes wrong with a storage, or with an object in it. The words name the storage, never a key of it."""

from environments.store import StoreDamaged
from sstools.errors import SSToolsError


class StorageError(SSToolsError):
    """A storage did not do what it was asked to. What was kept before is as it was."""

    code, status = "storage_failed", 503
    message = "The storage of the backups did not do what it was asked to."
    remedy = "Look at the storage, then try again. Backups that were taken before are not affected."


class StorageUnreachable(StorageError):
    """It does not answer, or not in time."""

    code = "storage_unreachable"
    message = "The storage of the backups does not answer."
    remedy = "Look whether it runs and is reachable from the machines of ss-tools, then try again."


class StorageFull(StorageError):
    """It takes nothing more."""

    code, status = "storage_full", 507
    message = "The storage of the backups is full."
    remedy = "Make room there, or let the rules keep fewer backups; then try again."


class StorageRefused(StorageError):
    """It answers, and does not let us: keys, rights, a bucket that is not there."""

    code, status = "storage_refused", 502
    message = "The storage of the backups refuses ss-tools."
    remedy = "Look at its keys and rights, and at the settings SSTOOLS_BACKUP_… of ss-tools."


class StorageNotSetUp(StorageError):
    """Its settings are missing."""

    code, status = "storage_not_set_up", 422
    message = "That storage of backups is not set up."
    remedy = "Set its SSTOOLS_BACKUP_… settings for all processes of ss-tools and restart them."


class ObjectError(StorageError, StoreDamaged):
    """One object cannot be read; others can."""

    code, status = "object_unreadable", 500
    remedy = "Restore another backup, or bring the object back from a copy of the storage and verify again."


class ObjectMissing(ObjectError):
    code = "object_missing"
    message = "An object is not in the storage any more."


class ObjectDamaged(ObjectError):
    """Its bytes are not those that were written."""

    code = "object_damaged"
    message = "An object in the storage was changed or cut off."


class ObjectKeyUnknown(ObjectError):
    """It was encrypted with a key that is not among ours."""

    code = "object_key_unknown"
    message = "An object in the storage was encrypted with a key that ss-tools does not have."
    remedy = "Add the key that was in use then to SSTOOLS_BACKUP_ENCRYPTION_KEYS, after the present one."
