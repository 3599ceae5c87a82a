"""Counterparts on loopback that give back what they were told: Supersets, a mail server, a receiver of webhooks."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.fakes.superset import FakeSuperset


def echo(request: httpx.Request) -> dict[str, Any]:
    """All that the request said, as an error might."""
    said = {"url": str(request.url), **{f"h-{name}": value for name, value in request.headers.items()}}
    return {"message": f"{request.read().decode(errors='replace')} {json.dumps(said)}", "errors": [said]}


def refuses_with_all(request: httpx.Request) -> httpx.Response:
    return httpx.Response(422, json=echo(request), headers=_headers(request))


def breaks_with_all(request: httpx.Request) -> httpx.Response:
    text = f"<html><title>500 {echo(request)['message']}</title><body>{echo(request)}</body></html>"
    return httpx.Response(500, html=text, headers=_headers(request))


def leads_away_with_all(request: httpx.Request) -> httpx.Response:
    password = base64.urlsafe_b64encode(request.read()).decode()
    token = request.headers.get("authorization", "")
    return httpx.Response(302, headers={"location": f"http://127.0.0.1:1/login/?t={token}&p={password}"})


def _headers(request: httpx.Request) -> dict[str, str]:
    return {
        "x-echo": request.read().decode(errors="replace")[:500].replace("\n", " "),
        "set-cookie": "session=x",
    }


def serve_superset(fake: FakeSuperset) -> ThreadingHTTPServer:
    """The fake behind a real socket."""

    class Handler(_Quiet):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = f"http://127.0.0.1:{server.server_address[1]}{self.path}"
            request = httpx.Request(self.command, url, headers=list(self.headers.items()), content=body)
            answer = fake.handle_request(request)
            content = answer.read()
            self.send_response(answer.status_code)
            for name, value in answer.headers.multi_items():
                if name.lower() not in ("content-length", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _any

    server = _start(Handler)
    return server


def serve_webhooks(calls: list[str]) -> ThreadingHTTPServer:
    """Refuses everything, and says what it was asked."""

    class Handler(_Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            calls.append(self.path)
            said = f"no {self.path} {dict(self.headers.items())} {body.decode()}".encode()
            self.send_response(500)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_PUT = do_POST  # so does a bucket

    return _start(Handler)


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def _start(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def serve_mail(signed_in: list[str]) -> socketserver.ThreadingTCPServer:
    """Takes nobody's password, and repeats it."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            say: Callable[[str], Any] = lambda text: self.wfile.write(f"{text}\r\n".encode())  # noqa: E731
            say("220 hostile")
            while line := self.rfile.readline().decode().strip():
                if line.upper().startswith("EHLO"):
                    say("250-hostile\r\n250 AUTH PLAIN")
                elif line.upper().startswith("AUTH PLAIN"):
                    told = base64.b64decode(line.split()[-1]).decode()
                    signed_in.append(told)
                    say(f"535 no, not {told}".replace("\0", " "))
                else:
                    say("221 bye" if line.upper() == "QUIT" else "250 ok")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


#: A plugin that tells its secret wherever it is asked anything.
LEAKY = """
def tell(call):
    token = call.settings["token"]
    print(token)
    call.step("with " + token)
    call.log("warning", "token is " + token)
    if call.values.get("raises"):
        raise RuntimeError("refused: " + token)
    table = e.Table("Of " + token, ("a",), ((token,),))
    findings = [e.Finding(e.Severity.ERROR, "told", token)]
    return e.Result("done with " + token, findings, {"n": 1}, [table], {"token": token})

plugin = e.Plugin(
    name="leaky", title="Leaky", version="1", fits=">=1.0,<2",
    settings=[e.Field("token", "Token", e.FieldKind.SECRET, required=True)],
    jobs=[e.Job("report", "Report", tell, fields=[e.Field("raises", "Raises", e.FieldKind.FLAG)])],
    health=lambda settings: "not well: " + settings.get("token", ""),
)
"""
