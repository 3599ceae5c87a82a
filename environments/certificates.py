"""Certificates of an environment's own authority: checked when entered, given to TLS as a file."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID
from django.conf import settings

MAX_PEM_BYTES = 262_144  # a whole system bundle has about 220 KB


@dataclass(frozen=True)
class Certificate:
    """What people want to know of one. Times are aware, UTC."""

    name: str
    issuer: str
    expires_at: datetime
    sha256: str

    @property
    def is_expired(self) -> bool:
        return self.expires_at < datetime.now(UTC)


def read_certificates(pem: str) -> list[Certificate]:
    """The certificates in a PEM text. Raises ValueError, as a sentence, for anything else in it."""
    if len(pem) > MAX_PEM_BYTES:
        raise ValueError("This is too long for a list of certificate authorities.")
    if "PRIVATE KEY" in pem:
        raise ValueError("This holds a private key. Give the certificate alone, and treat that key as lost.")
    try:
        found = x509.load_pem_x509_certificates(pem.encode("ascii"))
    except ValueError:  # UnicodeEncodeError is one as well
        raise ValueError("This is not a certificate in PEM form (-----BEGIN CERTIFICATE-----).") from None
    certificates = [
        Certificate(
            _name(item.subject),
            _name(item.issuer),
            item.not_valid_after_utc,
            hashlib.sha256(item.tbs_certificate_bytes).hexdigest(),
        )
        for item in found
    ]
    if all(certificate.is_expired for certificate in certificates):
        raise ValueError(f"This certificate expired on {certificates[0].expires_at:%Y-%m-%d}.")
    return certificates


def pem_file(pem: str) -> str:
    """The path of a file with this text, for ssl, which takes files only. Made once for each content."""
    folder = Path(settings.DATA_DIR) / "certificates"
    path = folder / f"{hashlib.sha256(pem.encode()).hexdigest()}.pem"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(pem)
        os.replace(name, path)  # whole or not at all: another process may be connecting now
    return str(path)


def _name(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if values := name.get_attributes_for_oid(oid):
            return str(values[0].value)
    return name.rfc4514_string()
