"""A line to a server that can fail: it forwards bytes, until it is told to hold them back, to drip, or to break."""

from __future__ import annotations

import socket
import threading
from typing import Any


class Line:
    """`after`: so many more requests pass before `fault` begins: "stall" (nothing is answered), "drip" (a byte every
    tenth of a second), "reset", "cut" (half of the answer). None: all pass.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.fault: str | None = None
        self.after = 0
        self.requests = 0
        self.given_up = threading.Event()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *args: Any) -> None:
        self.given_up.set()
        self._listening.close()

    def fail(self, fault: str, after: int = 0) -> None:
        with self._lock:
            self.fault, self.after = fault, after

    def mend(self) -> None:
        self.given_up.set()
        self.given_up = threading.Event()
        self.fault = None

    def _fault(self) -> str | None:
        with self._lock:
            self.requests += 1
            if self.fault is None:
                return None
            self.after -= 1
            return self.fault if self.after < 0 else None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One request after the other; each gets a connection of its own behind the line."""
        with client:
            try:
                while request := self._request(client):
                    fault = self._fault()
                    if fault == "stall":
                        self.given_up.wait(60)
                        return
                    if fault == "reset":
                        return
                    answer = self._ask(request)
                    if fault == "cut":
                        client.sendall(answer[: len(answer) // 2])
                        return
                    if fault == "drip":
                        for place in range(len(answer)):
                            client.sendall(answer[place : place + 1])
                            if self.given_up.wait(0.1):
                                return
                    client.sendall(answer)
            except OSError:
                return

    def _request(self, client: socket.socket) -> bytes:
        head = _until_blank_line(client)
        length = 0
        for row in head.split(b"\r\n"):
            name, _, value = row.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        if b"100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(row for row in head.split(b"\r\n") if not row.lower().startswith(b"expect:"))
        body = b""
        while len(body) < length:
            body += _received(client, length - len(body))
        return head + body if head else b""

    def _ask(self, request: bytes) -> bytes:
        first, _, rest = request.partition(b"\r\n")
        with socket.create_connection(self.server, timeout=30) as behind:
            behind.sendall(first + b"\r\nConnection: close\r\n" + rest)
            answer = b""
            while part := behind.recv(65536):
                answer += part
        # The server closes its end; ours goes on.
        return answer.replace(b"Connection: close\r\n", b"", 1)


def _until_blank_line(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = client.recv(1)
        if not part:
            return b""
        head += part
    return head


def _received(client: socket.socket, number: int) -> bytes:
    part = client.recv(number)
    if not part:
        raise ConnectionError
    return part
