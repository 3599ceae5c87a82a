"""The files of a commit, and a new commit of changed ones: git's objects, no folder on any disk."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree

from environments.superset.trees import FileProblem
from sstools.errors import Invalid

from .packs import RepositoryTooLarge

MAX_FILES = 60_000  # below the folder; 10,000 charts with all they stand on are some 12,000
MAX_BYTES = 256 * 2**20  # of all files that are read
MAX_FILE_BYTES = 16 * 2**20
MAX_DEPTH = 20
_WANTED = (".yaml", ".yml", ".sql", ".md")
_DIRECTORY, _FILE = 0o040000, 0o100644


@dataclass
class Files:
    """`content`: texts by path below the folder. `problems`: entries that are no plain files with plain names."""

    content: dict[str, bytes] = field(default_factory=dict)
    problems: list[FileProblem] = field(default_factory=list)


def read_files(store: BaseObjectStore, commit: Commit, folder: str) -> Files:
    """The YAML, SQL and Markdown below a folder of a commit; nothing where there is no such folder.

    Links and submodules are problems and not followed. Raises RepositoryTooLarge.
    """
    found = Files()
    tree = _folder_of(store, commit.tree, folder)
    if tree is None:
        return found
    seen = size = 0
    for path, mode, sha in _walk(store, tree, "", 0):
        seen += 1
        if seen > MAX_FILES:
            raise RepositoryTooLarge(f"It has more than {MAX_FILES:,} files.")
        if path is None:
            found.problems.append(FileProblem("", "has a file whose name is no text, or leads elsewhere"))
            continue
        if not stat.S_ISREG(mode):
            what = "a submodule" if mode == 0o160000 else "a symbolic link"
            found.problems.append(FileProblem(path, f"is {what}, which is not followed"))
            continue
        if not path.lower().endswith(_WANTED) or any(part[:1] in "._" for part in path.split("/")):
            continue
        blob = store[sha]
        if not isinstance(blob, Blob):
            found.problems.append(FileProblem(path, "is no file"))
            continue
        content = blob.as_raw_string()
        size += len(content)
        if len(content) > MAX_FILE_BYTES or size > MAX_BYTES:
            raise RepositoryTooLarge(f"{path} is too large, or all files together are.")
        found.content[path] = content
    return found


def _walk(
    store: BaseObjectStore, tree: Tree, above: str, depth: int
) -> Iterator[tuple[str | None, int, ObjectID]]:
    if depth > MAX_DEPTH:
        raise RepositoryTooLarge(f"Its folders nest more than {MAX_DEPTH} deep.")
    for entry in tree.items():
        name = _plain_name(entry.path)
        if name is None:
            yield None, entry.mode, entry.sha
            continue
        path = f"{above}{name}"
        if stat.S_ISDIR(entry.mode):
            if name[:1] in "._":
                continue
            below = store[entry.sha]
            if isinstance(below, Tree):
                yield from _walk(store, below, f"{path}/", depth + 1)
        else:
            yield path, entry.mode, entry.sha


def _plain_name(raw: bytes) -> str | None:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        return None
    return name


def _folder_of(store: BaseObjectStore, root: ObjectID, folder: str) -> Tree | None:
    tree = store[root]
    for part in folder.split("/") if folder else ():
        if not isinstance(tree, Tree) or part.encode() not in tree:
            return None
        mode, sha = tree[part.encode()]
        if not stat.S_ISDIR(mode):
            raise Invalid(
                f"{folder} is no folder in the repository, but a file or a link.",
                code="folder_taken",
                remedy="Enter another folder.",
            )
        tree = store[sha]
    return tree if isinstance(tree, Tree) else None


# --- A new commit -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    name: str
    email: str

    def line(self) -> bytes:
        """As git has it, whatever the name holds."""
        name, email = (
            "".join(one for one in text if one.isprintable() and one not in "<>").strip()
            for text in (self.name, self.email)
        )
        return f"{name or 'unknown'} <{email}>".encode()


def make_commit(
    store: BaseObjectStore | None,
    parent: Commit | None,
    folder: str,
    changes: Mapping[str, bytes | None],
    *,
    message: str,
    author: Person,
    committer: Person,
    now: float | None = None,
) -> tuple[Commit, Sequence[ShaFile]] | None:
    """A commit on top of `parent` in which these files (by path below `folder`) are so, None: not there. What else is
    in the repository stays as it is. With all objects that are new. None where nothing would change.
    """
    fresh: list[ShaFile] = []
    nested: dict[str, Any] = {}
    for path, content in changes.items():
        *above, name = (f"{folder}/{path}" if folder else path).split("/")
        place = nested
        for part in above:
            place = place.setdefault(part, {})
        place[name] = content
    root = parent.tree if parent is not None else None
    tree = _changed(store, root, nested, fresh)
    if tree is None:
        tree = Tree()
        fresh.append(tree)
    if tree.id == root or (root is None and not len(tree)):
        return None
    commit = Commit()
    commit.tree = tree.id
    commit.parents = [parent.id] if parent is not None else []
    commit.author, commit.committer = author.line(), committer.line()
    commit.author_time = commit.commit_time = int(time.time() if now is None else now)
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.strip().encode() + b"\n"
    unique = {one.id: one for one in fresh}
    return commit, [*unique.values(), commit]


def _changed(
    store: BaseObjectStore | None, sha: ObjectID | None, changes: Mapping[str, Any], fresh: list[ShaFile]
) -> Tree | None:
    """The tree with changes in it; None if nothing is left of it."""
    old = store[sha] if store is not None and sha is not None else None
    tree = Tree()
    for entry in old.items() if isinstance(old, Tree) else ():
        tree.add(entry.path, entry.mode, entry.sha)
    for name, change in changes.items():
        key = name.encode()
        mode, known = tree[key] if key in tree else (0, None)  # noqa: SIM401  (a tree has no get)
        if isinstance(change, Mapping):
            if mode and not stat.S_ISDIR(mode):
                raise Invalid(
                    f"{name} is no folder in the repository, but a file or a link.", code="folder_taken"
                )
            below = _changed(store, known, change, fresh)
            if below is not None:
                tree.add(key, _DIRECTORY, below.id)
            elif known is not None:
                del tree[key]
        elif change is None:
            if known is not None:
                del tree[key]
        else:
            blob = Blob.from_string(change)
            tree.add(key, _FILE, blob.id)
            if blob.id != known:
                fresh.append(blob)
    if not len(tree):
        return None
    if tree.id != sha:
        fresh.append(tree)
    return tree
