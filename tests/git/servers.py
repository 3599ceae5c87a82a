"""Real git servers on this machine: git over HTTP with a password, git over SSH with keys. Both run git itself."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paramiko
import trustme

CLEAN = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "HOME": "/nonexistent",
    "PATH": os.environ["PATH"],
}
ME = {
    name: value
    for who in ("AUTHOR", "COMMITTER")
    for name, value in ((f"GIT_{who}_NAME", "Ann"), (f"GIT_{who}_EMAIL", "ann@example.org"))
}


def git(folder: Path, *words: str, content: bytes | None = None, index: str = "", **more: str) -> str:
    """What git says; its own configuration is not looked at."""
    environment = {**CLEAN, **ME, **more, **({"GIT_INDEX_FILE": index} if index else {})}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], env=environment, input=content, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def bare(folder: Path, branch: str = "main") -> Path:
    """An empty bare repository that may be pushed to."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--bare", "-b", branch)
    git(folder, "config", "http.receivepack", "true")
    return folder


def commit_files(
    bare_folder: Path, files: dict[str, str | bytes], message: str = "By hand", branch: str = "main"
) -> str:
    """A commit that somebody else pushes: these files on top of what there is. Its hash."""
    work = bare_folder.parent / f"work-{len(list(bare_folder.parent.iterdir()))}"
    work.mkdir()
    git(work, "init", "-q", "-b", branch)
    if git(bare_folder, "branch", "--list", branch):
        git(work, "pull", "-q", str(bare_folder), branch)
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message)
    git(work, "push", "-q", str(bare_folder), f"HEAD:{branch}")
    return git(work, "rev-parse", "HEAD")


@contextmanager
def http_server(
    root: Path, username: str, password: str, *, authority: trustme.CA | None = None
) -> Iterator[str]:
    """git http-backend for the repositories below `root`, which asks for a password. Gives the address; with an
    `authority`, which signs its certificate, that is https.
    """
    wanted = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def handle_any(self) -> None:
            if self.path.startswith("/moved"):
                self.send_response(301)
                self.send_header("Location", "https://elsewhere.example/x.git/info/refs")
                self.end_headers()
                return
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                body = b""
                while size := int(self.rfile.readline().strip(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            environment = {
                **CLEAN,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": username,
                "REMOTE_ADDR": "127.0.0.1",
            }
            done = subprocess.run(
                ["git", "http-backend"], env=environment, input=body, capture_output=True, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            lines = [line.decode().partition(": ")[::2] for line in head.split(b"\r\n") if line]
            status = next((value for name, value in lines if name == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, value in lines:
                if name != "Status":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if authority else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Keys(paramiko.ServerInterface):
    def __init__(self, allowed: paramiko.PKey, root: Path) -> None:
        self.allowed, self.root = allowed, root

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "git" and key.asbytes() == self.allowed.asbytes()
        return paramiko.common.AUTH_SUCCESSFUL if good else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._serve, args=(channel, command.decode()), daemon=True).start()
        return True

    def _serve(self, channel: paramiko.Channel, command: str) -> None:
        program, _, path = command.partition(" ")
        folder = self.root / path.strip("'").lstrip("/")
        process = subprocess.Popen(
            ["git", program.removeprefix("git-"), str(folder)],
            env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        assert process.stderr

        def feed() -> None:
            while data := channel.recv(65536):
                process.stdin.write(data)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]

        threading.Thread(target=feed, daemon=True).start()
        while data := process.stdout.read1(65536):  # type: ignore[attr-defined]
            channel.sendall(data)
        with suppress(EOFError, OSError):  # whoever was answered goes
            channel.sendall_stderr(process.stderr.read())
            channel.send_exit_status(process.wait())
            channel.close()


@contextmanager
def ssh_server(root: Path, host_key: paramiko.PKey, client_key: paramiko.PKey) -> Iterator[str]:
    """git below `root` for who has `client_key`; the server shows `host_key`. Gives the address without a path."""
    listener = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transports.append(transport)
            try:
                transport.start_server(server=_Keys(client_key, root))
            except (paramiko.SSHException, EOFError):
                continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"ssh://git@127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        for transport in transports:
            transport.close()
