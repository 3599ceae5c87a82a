"""git itself on the other side: over HTTP with a password, over SSH with a pinned host key, in a folder."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dulwich.objects import Blob, Commit, Tree

from migrations_app.git.packs import PackDamaged, RepositoryTooLarge, check_pack
from migrations_app.git.remotes import Remote, check_branch, check_push, fetch, list_refs, push
from sstools.errors import Invalid, SSToolsError

from .servers import bare, commit_files, git, http_server, ssh_server

PASSWORD = "ghp_tokenTOKEN"


def new_key() -> tuple[str, paramiko.PKey]:
    """A private key as ssh-keygen writes it, and as paramiko has it."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return pem.decode(), paramiko.Ed25519Key.from_private_key(io.StringIO(pem.decode()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repositories")


@pytest.fixture(scope="module")
def ways(root: Path) -> Iterator[dict[str, Remote]]:
    """The three ways to the repositories below `root`, without a path."""
    mine, client_key = new_key()
    _, host_key = new_key()
    with http_server(root, "bi", PASSWORD) as http, ssh_server(root, host_key, client_key) as ssh:
        pinned = f"{host_key.get_name()} {host_key.get_base64()}"
        yield {
            "http": Remote(http, "bi", PASSWORD),
            "ssh": Remote(ssh, "", mine, pinned),
            "file": Remote(f"file://{root}"),
        }


@pytest.fixture(autouse=True)
def _allowed(settings: Any, root: Path) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]
    settings.GIT_FOLDERS = [str(root)]


def at(remote: Remote, path: str) -> Remote:
    return replace(remote, url=f"{remote.url}/{path}")


def commit_on(head: Any, name: bytes, content: bytes, message: bytes) -> tuple[Commit, list[Any]]:
    blob, tree, commit = Blob.from_string(content), Tree(), Commit()
    if head is not None:
        for entry in head.store[head.commit.tree].items():
            tree.add(entry.path, entry.mode, entry.sha)
        commit.parents = [head.commit.id]
    tree.add(name, 0o100644, blob.id)
    commit.tree, commit.message = tree.id, message
    commit.author = commit.committer = b"Me <me@example.org>"
    commit.author_time = commit.commit_time = 1_700_000_000
    commit.author_timezone = commit.commit_timezone = 0
    return commit, [blob, tree, commit]


@pytest.mark.parametrize("way", ["http", "ssh", "file"])
def test_a_repository_is_listed_read_and_pushed_to(ways: dict[str, Remote], root: Path, way: str) -> None:
    folder = bare(root / f"{way}.git")
    remote = at(ways[way], f"{way}.git")
    assert list_refs(remote) == {}
    check_push(remote)
    first, objects = commit_on(None, b"a.txt", b"one\n", b"First\n")
    push(remote, "main", first, objects, instead_of="")
    by_hand = commit_files(folder, {"b/c.txt": "two\n"}, "By somebody else")
    git(folder, "tag", "-a", "-m", "text", "v1", by_hand)
    assert list_refs(remote) == {"refs/heads/main": by_hand, "refs/tags/v1": by_hand}
    head = fetch(remote, "main")
    assert (head.sha, head.commit.message) == (by_hand, b"By somebody else\n")
    assert head.store[head.store[head.commit.tree][b"a.txt"][1]].data == b"one\n"
    for ref in ("v1", by_hand, by_hand[:8]):
        assert fetch(remote, ref).sha == by_hand
    second, objects = commit_on(head, b"d.txt", b"three\n", b"Third\n")
    push(remote, "main", second, objects, instead_of=by_hand)
    push(remote, "feature/x", second, objects, instead_of="")
    assert git(folder, "log", "--format=%s", "feature/x").splitlines() == [
        "Third",
        "By somebody else",
        "First",
    ]
    git(folder, "fsck", "--strict")
    for instead_of in (by_hand, ""):
        with pytest.raises(SSToolsError) as refused:
            push(remote, "main", second, objects, instead_of=instead_of)
        assert (refused.value.code, refused.value.detail) == (
            "push_refused",
            {"remote_commit": second.id.decode()},
        )
    with pytest.raises(SSToolsError) as refused:
        fetch(remote, "nowhere")
    assert refused.value.code == "no_such_ref"


@pytest.mark.parametrize("way", ["http", "ssh"])
def test_a_server_that_says_no_is_quoted(ways: dict[str, Remote], root: Path, way: str) -> None:
    folder = bare(root / f"{way}-hook.git")
    hook = folder / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    commit, objects = commit_on(None, b"a", b"b", b"c\n")
    with pytest.raises(SSToolsError, match="hook declined") as refused:
        push(at(ways[way], f"{way}-hook.git"), "main", commit, objects, instead_of="")
    assert refused.value.code == "push_refused"


def test_what_is_wrong_with_a_connection_is_said_without_the_secret(
    ways: dict[str, Remote], root: Path
) -> None:
    bare(root / "there.git")
    http, ssh = at(ways["http"], "there.git"), at(ways["ssh"], "there.git")
    other, other_key = new_key()
    wrong_host = f"{other_key.get_name()} {other_key.get_base64()}"
    encrypted = "-----BEGIN OPENSSH PRIVATE KEY-----\nENCRYPTED\n"
    cases = {
        "repository_sign_in": [replace(http, secret="wrong"), replace(http, secret=""), replace(ssh, secret=other)],
        "repository_not_found": [at(ways[way], "gone.git") for way in ("http", "ssh", "file")],
        "repository_moved": [Remote(f"{ways['http'].url}/moved.git", "bi", PASSWORD)],
        "host_key_missing": [replace(ssh, host_key="")],
        "host_key_changed": [replace(ssh, host_key=wrong_host)],
        "host_key_invalid": [replace(ssh, host_key="ssh-ed25519 QUJD")],
        "key_invalid": [replace(ssh, secret=encrypted), replace(ssh, secret="nonsense")],
        "repository_unreachable": [Remote("http://127.0.0.1:9/x.git"), replace(ssh, url="ssh://git@127.0.0.1:9/x.git")],
        "address_refused": [Remote("ext::sh -c id"), Remote("git://127.0.0.1/x"), replace(ssh, url="ssh://git@10.0.0.1/x")],
        "folder_not_allowed": [Remote("file:///etc"), Remote(f"file://{root}/../x")],
    }  # fmt: skip
    for code, remotes in cases.items():
        for remote in remotes:
            with pytest.raises(SSToolsError) as refused:
                list_refs(remote)
            assert refused.value.code == code, (remote.url, refused.value)
            assert PASSWORD not in str(refused.value.as_dict())
            assert refused.value.remedy, code


def test_a_server_gets_nothing_of_ours_before_it_has_shown_the_pinned_key(
    root: Path, ways: dict[str, Remote]
) -> None:
    mine, client_key = new_key()
    _, host_key = new_key()
    _, pinned = new_key()
    seen: list[str] = []

    class Curious(paramiko.ServerInterface):
        def get_allowed_auths(self, username: str) -> str:
            seen.append(username)
            return "publickey,password"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.git.servers._Keys", lambda *_: Curious())
        with ssh_server(root, host_key, client_key) as address:
            remote = Remote(f"{address}/x.git", "", mine, f"{pinned.get_name()} {pinned.get_base64()}")
            with pytest.raises(SSToolsError) as refused:
                list_refs(remote)
    assert refused.value.code == "host_key_changed"
    assert seen == []


def test_names_that_git_or_a_program_would_take_for_something_else_are_no_branches() -> None:
    for name in ("main", "feature/x", "Отчёты"):
        assert check_branch(name) == name
    for name in (
        "-main",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a~1",
        "x.lock",
        "",
        "HEAD",
        "refs/heads/x",
        "a\nb",
        "a:b",
        "@{u}",
    ):
        with pytest.raises(Invalid):
            check_branch(name)


def packed(*objects: tuple[int, int, bytes]) -> io.BytesIO:
    """A pack of (type, size that it says, content)."""
    parts = [b"PACK" + (2).to_bytes(4) + len(objects).to_bytes(4)]
    for kind, size, content in objects:
        byte, size = kind << 4 | size & 15, size >> 4
        while size:
            parts.append(bytes([byte | 0x80]))
            byte, size = size & 0x7F, size >> 7
        parts += [bytes([byte]), b"\0" * 20 if kind == 7 else b"", zlib.compress(content)]
    return io.BytesIO(b"".join(parts))


COPY_16_MIB = b"\xff" + b"\0\0\0\0" + b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("pack", "error"),
    [
        (packed((3, 17 * 2**20, b"x")), RepositoryTooLarge),  # says it
        (packed((3, 10, bytes(50 * 2**20))), PackDamaged),  # does not say it
        (packed((3, 10, b"short")), PackDamaged),
        (packed((7, len(COPY_16_MIB) + 5, b"\x01" + b"\xff\xff\xff\x0f" + COPY_16_MIB)), RepositoryTooLarge),
        (packed((7, len(COPY_16_MIB) + 2, b"\x01\x05" + COPY_16_MIB)), PackDamaged),
        (packed((7, 3, b"\x01\x05\x00")), PackDamaged),
        (io.BytesIO(b"PACK" + (2).to_bytes(4) + (10**9).to_bytes(4)), RepositoryTooLarge),
        (io.BytesIO(b"<html>"), PackDamaged),
        (io.BytesIO(b""), PackDamaged),
    ],
)  # fmt: skip
def test_a_pack_that_would_explode_is_refused_before_it_is_unpacked(
    pack: io.BytesIO, error: type[Exception]
) -> None:
    with pytest.raises(error):
        check_pack(pack, len(pack.getvalue()))


def test_packs_that_git_makes_are_fine(tmp_path: Path) -> None:
    folder = bare(tmp_path / "x.git")
    text = "".join(f"line {number}\n" for number in range(500))
    for number in range(3):  # the same with small changes: git makes deltas of it
        commit_files(folder, {"a.txt": text.replace("line 7\n", f"changed {number}\n"), f"b{number}": ""})
    listed = git(folder, "rev-list", "--objects", "main").split("\n")
    hashes = "\n".join(line.split()[0] for line in listed).encode()
    for words in (["--delta-base-offset"], []):
        git(folder, "pack-objects", "-q", *words, str(tmp_path / "p"), content=hashes)
    packs = list(tmp_path.glob("p-*.pack"))
    assert packs
    for path in packs:
        with path.open("rb") as file:
            assert check_pack(file, path.stat().st_size - 20) == len(listed)
