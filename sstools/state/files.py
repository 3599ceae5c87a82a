"""The file: a ZIP of a manifest and one member of JSON lines for each table, every one with its SHA-256.

Secrets are in it only under a passphrase: scrypt makes two keys of it, one that encrypts each value (Fernet), and one
that seals the manifest (HMAC-SHA256), which holds the hashes of all members.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidKey
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sstools.errors import SSToolsError
from sstools.secrets import Secret

FORMAT = 1
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
SHORTEST_PASSPHRASE = 12  # characters, as of passwords
SCRYPT = {"n": 2**16, "r": 8, "p": 1}  # 64 MiB and some 0.2 s for each guess
LARGEST_SCRYPT = 2**20  # what a file may ask for
READ_SIZE = 1 << 20


class StateError(SSToolsError):
    """The file cannot be written, read, or brought in. Nothing was changed."""

    code, status = "state", 422
    message = "The file cannot be used."


class Damaged(StateError):
    code = "state_damaged"
    remedy = "Nothing was brought in. Take another copy of the file."


class WrongPassphrase(StateError):
    code = "wrong_passphrase"
    message = "The passphrase does not open this file."
    remedy = "Nothing was brought in. Take the passphrase that the file was made with."


class Keys:
    """What a passphrase opens. `terms`: what of it stands in the manifest; no secret."""

    def __init__(self, passphrase: str, terms: dict[str, Any] | None = None) -> None:
        if terms is None:
            if len(passphrase) < SHORTEST_PASSPHRASE:
                raise StateError(
                    f"The passphrase has less than {SHORTEST_PASSPHRASE} characters.",
                    code="weak_passphrase",
                    remedy="Nothing was written. Take a longer one: it is all that protects the secrets in the file.",
                )
            terms = {"kdf": "scrypt", "salt": base64.b64encode(os.urandom(16)).decode(), **SCRYPT}
        self.terms = terms
        try:
            n, r, p = int(terms["n"]), int(terms["r"]), int(terms["p"])
            if terms["kdf"] != "scrypt" or n * r * p > LARGEST_SCRYPT:
                raise ValueError
            made = Scrypt(salt=base64.b64decode(terms["salt"]), length=64, n=n, r=r, p=p).derive(
                passphrase.encode()
            )
        except (KeyError, TypeError, ValueError, InvalidKey):
            raise Damaged("The file says nothing usable of how its secrets are encrypted.") from None
        self._box = Fernet(base64.urlsafe_b64encode(made[:32]))
        self._sealing = made[32:]

    def lock(self, text: str) -> str:
        return self._box.encrypt(text.encode()).decode() if text else ""

    def open(self, text: str) -> str:
        """Raises WrongPassphrase."""
        try:
            return Secret(self._box.decrypt(text.encode()).decode()) if text else ""
        except InvalidToken:
            raise WrongPassphrase from None

    def seal(self, data: bytes) -> str:
        return hmac.new(self._sealing, data, hashlib.sha256).hexdigest()


class Writer:
    """Writes the file beside its place and moves it there when it is complete: what breaks leaves no half of one."""

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self.path = path
        if path.exists() and not replace:
            raise StateError(
                f"{path} is there already.",
                code="file_exists",
                remedy="Nothing was written. Name another file.",
            )
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        except OSError as exc:
            raise cannot_write(path, exc) from None
        self._name = name
        self._file = os.fdopen(handle, "wb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, allowZip64=True)

    def member(self, name: str, lines: Iterable[str]) -> dict[str, Any]:
        """Write a member; returns {"file", "rows", "sha256"}."""
        digest, count = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as file:
            for line in lines:
                data = line.encode("utf-8", "surrogatepass") + b"\n"
                digest.update(data)
                file.write(data)
                count += 1
        return {"file": name, "rows": count, "sha256": digest.hexdigest()}

    def finish(self, manifest: dict[str, Any], keys: Keys | None) -> str:
        """Complete the file and put it in place. Returns the fingerprint: SHA-256 of the manifest, and so of it all."""
        data = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True).encode()
        fingerprint = hashlib.sha256(data).hexdigest()
        self._zip.writestr(MANIFEST, data)
        self._zip.writestr(SEAL, keys.seal(data) if keys else fingerprint)
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._name, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return fingerprint

    def drop(self) -> None:
        with suppress(OSError, ValueError):
            self._zip.close()
        with suppress(OSError, ValueError):
            self._file.close()
        with suppress(OSError):
            os.unlink(self._name)


def cannot_write(path: Path, exc: OSError) -> StateError:
    return StateError(
        f"{path} cannot be written: {exc.strerror}.",
        code="file_not_written",
        remedy="Nothing of it was kept.",
    )


class Reader:
    """An open file whose manifest and members are proven. Raises Damaged, WrongPassphrase, StateError."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            self._data = self._zip.read(MANIFEST)
            self._seal = self._zip.read(SEAL).decode()
            self.manifest: dict[str, Any] = json.loads(self._data)
        except OSError as exc:
            raise StateError(f"{path} cannot be read: {exc.strerror or exc}.", code="file_not_read") from None
        except (KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError):
            raise Damaged(f"{path} is no complete file of `manage.py export_state`.") from None
        if not isinstance(self.manifest, dict) or self.manifest.get("product") != "ss-tools state":
            raise Damaged(f"{path} is no file of `manage.py export_state`.")
        if int(self.manifest.get("format", 0)) > FORMAT:
            raise StateError(
                f"{path} was made by a newer ss-tools ({self.manifest.get('version')}).",
                code="newer_format",
                remedy="Nothing was brought in. Use that version, or a newer one.",
            )
        self.path = path
        self.fingerprint = hashlib.sha256(self._data).hexdigest()

    @property
    def has_secrets(self) -> bool:
        return bool(self.manifest.get("key"))

    def keys(self, passphrase: str) -> Keys:
        """Raises WrongPassphrase, also where somebody changed the manifest."""
        keys = Keys(passphrase, dict(self.manifest["key"]))
        if not hmac.compare_digest(keys.seal(self._data), self._seal):
            raise WrongPassphrase
        return keys

    def verify(self) -> None:
        """Read everything once and hold it against its hashes. Raises Damaged, which names the table."""
        if not self.has_secrets and self.fingerprint != self._seal:
            raise Damaged(f"{self.path} was changed: its manifest is not what was written.")
        wanted = {str(one["file"]): str(one["sha256"]) for one in self.manifest["tables"]}
        extra = set(self._zip.namelist()) - {MANIFEST, SEAL, *wanted}
        if extra or len(self._zip.namelist()) != len(wanted) + 2:
            raise Damaged(f"{self.path} holds what its manifest does not name.")
        for name, sha in wanted.items():
            digest = hashlib.sha256()
            try:
                with self._zip.open(name) as file:
                    while data := file.read(READ_SIZE):
                        digest.update(data)
            except (KeyError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as exc:
                raise Damaged(f"{self.path} is damaged: {name} cannot be read.") from exc
            if digest.hexdigest() != sha:
                raise Damaged(f"{self.path} is damaged: {name} is not what was written.")

    def rows(self, name: str) -> Iterator[list[Any]]:
        with self._zip.open(name) as file:
            for line in file:
                yield json.loads(line.decode("utf-8", "surrogatepass"))

    def close(self) -> None:
        self._zip.close()
