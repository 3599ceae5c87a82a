"""Git over SSH: one key of ours, one key of the server, and nothing else of ssh's configuration."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
import time
from itertools import pairwise
from typing import Any

import paramiko
from dulwich.client import SSHVendor

from sstools import outbound
from sstools.errors import Invalid

from .errors import HostKeyWrong, SignInRefused, Unreachable

_CONNECT_SECONDS, _READ_SECONDS = 10.0, 60.0
_KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def read_key(text: str) -> paramiko.PKey:
    """A private key in OpenSSH's or PEM format. Raises Invalid("key_invalid"), without a word of it."""
    text = text.replace("\r\n", "\n").strip() + "\n"
    if "ENCRYPTED" in text:
        raise _no_key("It has a passphrase.")
    for kind in _KEYS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise _no_key("It has a passphrase.") from None
        except (paramiko.SSHException, ValueError, IndexError, UnicodeError):
            continue
    raise _no_key("It is no private key of the kind Ed25519, ECDSA or RSA.")


def _no_key(why: str) -> Invalid:
    return Invalid(
        f"The private key cannot be used. {why}",
        code="key_invalid",
        remedy="Make one without a passphrase (ssh-keygen -t ed25519): ss-tools keeps it encrypted.",
        errors={"secret": [why]},
    )


def read_host_key(text: str) -> tuple[str, bytes]:
    """(type, key) of a server's public key as known_hosts or ssh-keyscan has it, with or without the host before it.

    Raises Invalid("host_key_invalid").
    """
    words = text.split()
    for name, blob in pairwise(words):
        if not name.startswith(("ssh-", "ecdsa-")):
            continue
        try:
            key = base64.b64decode(blob, validate=True)
        except ValueError:
            continue
        length = int.from_bytes(key[:4])
        if key[4 : 4 + length] == name.encode():
            return name, key
    raise Invalid(
        "That is no public key of a server.",
        code="host_key_invalid",
        remedy="Paste a line as ssh-keyscan prints it: ssh-ed25519 AAAA…",
        errors={"host_key": ["Write it as “ssh-ed25519 AAAA…”."]},
    )


def fingerprint_of(key: bytes) -> str:
    """As ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


class _Channel:
    """A command on the server as dulwich wants it: read, write, close, can_read, stderr."""

    def __init__(self, channel: paramiko.Channel, deadline: float) -> None:
        self._channel, self._deadline = channel, deadline
        self.stderr = channel.makefile_stderr("rb")

    def read(self, size: int) -> bytes:
        pieces = b""
        while len(pieces) < size:
            if time.monotonic() > self._deadline:
                raise Unreachable("The server sends too slowly.")
            piece = self._channel.recv(size - len(pieces))
            if not piece:
                break
            pieces += piece
        return pieces

    def write(self, data: bytes) -> int:
        self._channel.sendall(data)
        return len(data)

    def can_read(self) -> bool:
        return bool(self._channel.recv_ready())

    def shutdown_write(self) -> None:
        self._channel.shutdown_write()

    def close(self) -> None:
        self._channel.close()


class PinnedVendor(SSHVendor):
    """Opens one connection per command. Raises HostKeyWrong before anything of ours is told to a server that is not the
    pinned one.
    """

    def __init__(self, private_key: str, host_key: str, deadline: float) -> None:
        self._private_key, self._host_key, self._deadline = private_key, host_key, deadline
        self._transports: list[paramiko.Transport] = []

    def run_command(  # type: ignore[override]  # what it gives has what dulwich uses, and is no process
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        **_: Any,
    ) -> _Channel:
        key = read_key(self._private_key)
        pinned = read_host_key(self._host_key) if self._host_key.strip() else None
        address = outbound.check_host(host, port or 22)
        try:
            connection = socket.create_connection((str(address), port or 22), _CONNECT_SECONDS)
        except OSError as error:
            raise Unreachable(f"{host} cannot be reached: {error.strerror or error}.") from None
        connection.settimeout(_READ_SECONDS)
        transport = paramiko.Transport(connection)
        self._transports.append(transport)
        try:
            if pinned is not None:
                transport.get_security_options().key_types = _offers_of(pinned[0])
            transport.start_client(timeout=_CONNECT_SECONDS)
            _check(host, transport.get_remote_server_key(), pinned)
            transport.auth_publickey(username or "git", key)
            channel = transport.open_session(timeout=_CONNECT_SECONDS)
            channel.settimeout(_READ_SECONDS)
            channel.exec_command(command)
        except paramiko.AuthenticationException:
            raise SignInRefused(f"{host} does not take this key for {username or 'git'}.") from None
        except paramiko.IncompatiblePeer:
            raise _other_key(host, pinned, "none of that kind") from None
        except (paramiko.SSHException, EOFError) as error:
            raise Unreachable(
                f"{host} broke the connection off: {str(error)[:200] or 'no reason given'}."
            ) from None
        return _Channel(channel, self._deadline)

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


def _offers_of(kind: str) -> tuple[str, ...]:
    """What a server with a key of this kind signs with."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _check(host: str, found: paramiko.PKey, pinned: tuple[str, bytes] | None) -> None:
    shown = f"{found.get_name()} {found.get_base64()}"
    if pinned is None:
        raise HostKeyWrong(
            f"No host key is pinned for {host}. It shows {fingerprint_of(found.asbytes())}.",
            code="host_key_missing",
            remedy="Compare that with what the server's administrator publishes, then enter the key.",
            detail={"host_key": shown},
        )
    if found.asbytes() != pinned[1]:
        raise _other_key(host, pinned, fingerprint_of(found.asbytes()))


def _other_key(host: str, pinned: tuple[str, bytes] | None, shown: str) -> HostKeyWrong:
    wanted = fingerprint_of(pinned[1]) if pinned else "none"
    return HostKeyWrong(
        f"{host} is not the server that it was: it shows {shown}, and {wanted} is pinned.",
        code="host_key_changed",
        remedy="Nothing was sent there. Ask its administrator; if its key was changed on purpose, enter the new one.",
    )
