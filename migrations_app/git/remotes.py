"""Git servers, by three functions: what branches there are, reading a commit, pushing one.

Nothing is checked out and nothing is kept on a disk: a commit's files come into memory, so that any worker can do it.
No program is started, no hook is run, nothing asks for anything: git's own configuration, its credential helpers,
known_hosts and ssh's agent are not looked at.

HTTPS goes through `sstools.outbound`, SSH to the address that it lets through, with a host key that is pinned. A local
path must be below SSTOOLS_GIT_FOLDERS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from dulwich.client import (
    AbstractHttpGitClient,
    HTTPProxyUnauthorized,
    HTTPUnauthorized,
    LocalGitClient,
    SSHGitClient,
    TraditionalGitClient,
)
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository, SendPackError
from dulwich.object_store import BaseObjectStore, MemoryObjectStore, ObjectStoreGraphWalker
from dulwich.objects import ZERO_SHA, Commit, ObjectID, ShaFile
from dulwich.pack import pack_objects_to_data
from dulwich.refs import Ref
from dulwich.repo import Repo

from sstools.errors import Invalid, SSToolsError

from .address import HEADS, Remote, check_branch, folder_of
from .errors import NoSuchRef, NoSuchRepository, PushRefused, ServerBroken, SignInRefused, Unreachable
from .http import HttpClient
from .packs import MAX_PACK_BYTES, RepositoryTooLarge, check_pack
from .ssh import PinnedVendor

SECONDS = 300.0  # for one conversation with a server, however slowly it talks
_SPOOL = 8 * 2**20
TAGS = b"refs/tags/"
MAX_REFS = 10_000


@dataclass(frozen=True)
class Head:
    """One commit with all that its tree holds. `ref`: what was asked for; `name` the branch or tag, "" for a commit."""

    store: BaseObjectStore
    commit: Commit
    ref: str

    @property
    def sha(self) -> str:
        return self.commit.id.decode()


def list_refs(remote: Remote) -> dict[str, str]:
    """Branches ("refs/heads/main") and tags by name, each with its commit (40 hex digits). Empty: nothing is in it yet.

    Raises Unreachable, SignInRefused, NoSuchRepository, HostKeyWrong, ServerBroken, AddressRefused.
    """
    with _talk(remote) as (client, path):
        if isinstance(client, LocalGitClient):
            with _opened(path) as repository:
                return _refs_of(repository)
        return _named(client.get_refs(cast(bytes, path)).refs)


def check_push(remote: Remote) -> None:
    """Whether the account may push, as far as a server tells without a push. Raises as `list_refs`."""
    with _talk(remote) as (client, path):
        if not isinstance(client, LocalGitClient):
            client.send_pack(cast(bytes, path), lambda refs: {}, lambda *_, **__: (0, iter(())))


def fetch(remote: Remote, ref: str) -> Head:
    """The commit that `ref` names, a branch, a tag, or a commit's hash, with its files; not those before it.

    Raises NoSuchRef; RepositoryTooLarge, PackDamaged; and as `list_refs`.
    """
    found: dict[str, str] = {}
    with SpooledTemporaryFile(_SPOOL) as pack:

        def keep(piece: bytes) -> int:
            if pack.tell() + len(piece) > MAX_PACK_BYTES:
                raise RepositoryTooLarge(f"The server sends more than {MAX_PACK_BYTES // 2**20} MiB.")
            return pack.write(piece)

        def wants(refs: Any, depth: int | None = None) -> list[ObjectID]:
            found.update(_named(refs))
            found["="] = resolve(found, ref)
            return [ObjectID(found["="].encode())]

        with _talk(remote) as (client, path):
            if isinstance(client, LocalGitClient):
                with _opened(path) as repository:
                    sha = resolve(_refs_of(repository), ref)
                    return Head(repository.object_store, _commit_of(repository.object_store, sha), ref)
            walker = ObjectStoreGraphWalker([], lambda sha: [], shallow=set())
            client.fetch_pack(cast(bytes, path), wants, walker, keep, depth=1)
        size = pack.tell()
        pack.seek(0)
        check_pack(cast(BinaryIO, pack), size)
        store = MemoryObjectStore()
        into, commit, _ = store.add_pack()
        pack.seek(0)
        while piece := pack.read(_SPOOL):
            into.write(piece)
        try:
            commit()
        except (KeyError, ValueError, AssertionError) as error:
            raise ServerBroken("The server sent a pack that does not fit together.") from error
    return Head(store, _commit_of(store, found["="]), ref)


def push(remote: Remote, branch: str, commit: Commit, objects: Sequence[ShaFile], *, instead_of: str) -> None:
    """Have `branch` point to `commit`, whose new `objects` are sent along. `instead_of`: the commit it points to now,
    "" for a branch that is not there yet; never by force.

    Raises PushRefused, its detail with `remote_commit`, where the branch points elsewhere or the server says no; and as
    `list_refs`.
    """
    ref = Ref(HEADS + check_branch(branch).encode())
    old = instead_of.encode() or ZERO_SHA

    def update(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
        now = refs.get(ref, ZERO_SHA)
        if now != old:
            raise moved(branch, "" if now == ZERO_SHA else now.decode())
        return {ref: commit.id}

    def pack(have: Any, want: Any, *, ofs_delta: bool = False, progress: Any = None) -> Any:
        return pack_objects_to_data([(one, None) for one in objects], ofs_delta=ofs_delta)

    with _talk(remote) as (client, path):
        try:
            result = client.send_pack(cast(bytes, path), update, pack)
        except SendPackError as error:
            raise PushRefused(f"The server refused the commit: {_words(error)}") from None
    problem = (result.ref_status or {}).get(ref)
    if problem:
        words = problem.decode("utf-8", "replace") if isinstance(problem, bytes) else str(problem)
        raise PushRefused(f"The server refused the commit to {branch}: {words[:300]}.")


def moved(branch: str, now: str) -> PushRefused:
    if not now:
        return PushRefused(f"The branch {branch} is not there any more.", detail={"remote_commit": ""})
    return PushRefused(
        f"Somebody else was faster: {branch} is at {now[:12]} by now.", detail={"remote_commit": now}
    )


def resolve(refs: dict[str, str], ref: str) -> str:
    """The commit that a ref names. Only what the server offers: others cannot be asked for. Raises NoSuchRef."""
    for name in (f"refs/heads/{ref}", f"refs/tags/{ref}"):
        if name in refs:
            return refs[name]
    if len(ref) == 40 and ref in refs.values():
        return ref
    if 7 <= len(ref) < 40 and len(known := {sha for sha in refs.values() if sha.startswith(ref)}) == 1:
        return known.pop()
    raise NoSuchRef(f"The repository has no branch, tag or newest commit “{ref[:100]}”.")


def _named(refs: Any) -> dict[str, str]:
    """Branches and tags; a tag with a text of its own stands for the commit that it is about."""
    if len(refs) > 4 * MAX_REFS:
        raise RepositoryTooLarge(f"It has more than {MAX_REFS:,} branches and tags.")
    found: dict[str, str] = {}
    for name, sha in refs.items():
        if sha is None or not name.startswith((HEADS, TAGS)):
            continue
        try:
            text = name.decode()
        except UnicodeDecodeError:
            continue
        if text.endswith("^{}"):
            found[text[:-3]] = sha.decode()
        else:
            found.setdefault(text, sha.decode())
    return found


def _commit_of(store: BaseObjectStore, sha: str) -> Commit:
    try:
        found = store[ObjectID(sha.encode())]
        while found.type_name == b"tag":
            found = store[cast(Any, found).object[1]]
    except KeyError:
        raise ServerBroken("The server left out the commit that was asked for.") from None
    if not isinstance(found, Commit):
        raise NoSuchRef("That ref is no commit.")
    return found


# --- Talking ----------------------------------------------------------------------------------------------------------


@contextmanager
def _talk(
    remote: Remote,
) -> Iterator[tuple[TraditionalGitClient | AbstractHttpGitClient | LocalGitClient, str]]:
    """A client and the path it takes; what goes wrong while it is used is said in our words."""
    closing: Callable[[], None] = lambda: None  # noqa: E731
    deadline = time.monotonic() + SECONDS
    try:
        client: Any
        parts = urlsplit(remote.url)
        if parts.scheme in ("https", "http"):
            client = HttpClient(remote.url, remote.username, remote.secret, deadline)
            closing, path = client.close, ""
        elif parts.scheme == "ssh":
            vendor = PinnedVendor(remote.secret, remote.host_key, deadline)
            closing, path = vendor.close, parts.path
            client = SSHGitClient(
                parts.hostname or "", parts.port, parts.username or remote.username or "git", vendor=vendor
            )
        elif parts.scheme == "file":
            client, path = LocalGitClient(), str(folder_of(remote.url))
        else:
            raise Invalid(
                "That is no address of a repository that ss-tools takes.",
                code="address_refused",
                remedy="It begins with https://, ssh:// or file://.",
            )
        yield client, path
    except SSToolsError:
        raise
    except (HTTPUnauthorized, HTTPProxyUnauthorized):
        raise SignInRefused("The server does not take this token or password.") from None
    except NotGitRepository:
        raise NoSuchRepository from None
    except HangupException as error:
        raise _hung_up(error) from None
    except GitProtocolError as error:
        raise ServerBroken(f"The server answered something unexpected: {_words(error)}") from None
    except (TimeoutError, OSError, EOFError) as error:
        raise Unreachable(f"The connection to the server broke: {_words(error)}") from None
    except (ValueError, KeyError, AssertionError, IndexError) as error:
        raise ServerBroken(
            f"The server answered something that is not git's protocol ({type(error).__name__})."
        ) from None
    finally:
        closing()


def _hung_up(error: HangupException) -> SSToolsError:
    lines = [line.decode("utf-8", "replace").strip() for line in error.stderr_lines or ()]
    said = " ".join(line for line in lines if line)[:300]
    words = said.casefold()
    if any(word in words for word in ("not found", "does not exist", "not appear to be a git")):
        return NoSuchRepository(f"The server says: {said}")
    if any(word in words for word in ("denied", "permission", "not allowed", "read-only", "read only")):
        return SignInRefused(f"The server says: {said}")
    return Unreachable(f"The server hung up{': ' + said if said else ''}.")


def _words(error: Exception) -> str:
    return str(error)[:300].strip() or type(error).__name__


# --- Folders ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: str) -> Iterator[Repo]:
    repository = Repo(path)
    try:
        if not repository.bare:
            raise NoSuchRepository(
                f"{path} is a working folder, not a bare repository.",
                remedy="Make one with git clone --bare.",
            )
        yield repository
    finally:
        repository.close()


def _refs_of(repository: Repo) -> dict[str, str]:
    refs = {bytes(name): sha for name, sha in repository.get_refs().items()}
    return _named({name: _peeled(repository, sha) for name, sha in refs.items()})


def _peeled(repository: Repo, sha: ObjectID) -> ObjectID:
    found: Any = repository.object_store[sha]
    while found.type_name == b"tag":
        found = repository.object_store[found.object[1]]
    return ObjectID(found.id)


__all__ = ["Head", "Remote", "check_branch", "check_push", "fetch", "list_refs", "moved", "push", "resolve"]
