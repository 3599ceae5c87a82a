"""What is around the bytes of an object: a seal that proves them, and encryption where keys are set.

::

    plain      SST1 P  SHA-256 of the payload (32)  payload
    encrypted  SST1 A  key number (8)  nonce (12)  AES-256-GCM of the payload, bound to the object's name

The name goes into the seal of the encrypted form, so that whoever may write to the storage cannot put one object in
the place of another. Without keys the seal shows accidents, not intent; documents are proven by their fingerprint then.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ObjectDamaged, ObjectKeyUnknown

MAGIC = b"SST1"
PLAIN, ENCRYPTED = b"P", b"A"
KEY_NUMBER, NONCE, DIGEST = 8, 12, 32


class Envelope:
    """`keys`: 32 bytes in url-safe base64 each, as Fernet has them. The first one encrypts, all of them decrypt."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = [base64.urlsafe_b64decode(key) for key in keys]
        self._by_number = {_number(key): key for key in self._keys}

    @property
    def encrypts(self) -> bool:
        return bool(self._keys)

    def seal(self, payload: bytes, name: str) -> bytes:
        """`name`: what the object is, not where it is. The same has to be given to open it."""
        if not self._keys:
            return MAGIC + PLAIN + hashlib.sha256(payload).digest() + payload
        key, nonce = self._keys[0], os.urandom(NONCE)
        head = MAGIC + ENCRYPTED + _number(key)
        return head + nonce + AESGCM(key).encrypt(nonce, payload, head + name.encode())

    def open(self, data: bytes, name: str) -> bytes:
        """The payload. Raises ObjectDamaged, ObjectKeyUnknown."""
        form, rest = data[len(MAGIC) : len(MAGIC) + 1], data[len(MAGIC) + 1 :]
        if data[: len(MAGIC)] != MAGIC or form not in (PLAIN, ENCRYPTED):
            raise ObjectDamaged("An object in the storage does not begin as objects of ss-tools do.")
        if form == PLAIN:
            payload = rest[DIGEST:]
            if len(rest) < DIGEST or hashlib.sha256(payload).digest() != rest[:DIGEST]:
                raise ObjectDamaged
            return payload
        number, nonce, sealed = rest[:KEY_NUMBER], rest[KEY_NUMBER:][:NONCE], rest[KEY_NUMBER + NONCE :]
        key = self._by_number.get(number)
        if key is None:
            raise ObjectKeyUnknown
        try:
            return AESGCM(key).decrypt(nonce, sealed, MAGIC + form + number + name.encode())
        except (InvalidTag, ValueError):
            raise ObjectDamaged from None

    def is_sealed_with_the_first_key(self, data: bytes) -> bool:
        """Whether it would be sealed the same way today: what rotating keys asks."""
        if not self._keys:
            return data[len(MAGIC) :][:1] == PLAIN
        return data[: len(MAGIC) + 1 + KEY_NUMBER] == MAGIC + ENCRYPTED + _number(self._keys[0])

    def name_of(self, fingerprint: str) -> str:
        """Under which a document is stored: its fingerprint, with keys one that tells nothing of what it holds."""
        return self.names_of(fingerprint)[0]

    def names_of(self, fingerprint: str) -> list[str]:
        """All names under which it may have been stored, by any of the keys, or before there was one."""
        text = fingerprint.encode()
        return [hmac.new(key, b"name " + text, hashlib.sha256).hexdigest() for key in self._keys] + [
            fingerprint
        ]


def _number(key: bytes) -> bytes:
    """Of a key: tells keys apart, and nothing about them."""
    return hashlib.sha256(b"ss-tools object key " + key).digest()[:KEY_NUMBER]
