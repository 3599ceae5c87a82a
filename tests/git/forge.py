"""A forge as a real HTTP server: what GitHub, GitLab and Gitea document of pull requests and commit statuses."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from .servers import git

TOKEN = "forge-tokenTOKENtoken"
PATHS = {
    "github": "/api/v3/repos/team/bi",
    "gitlab": "/api/v4/projects/team%2Fbi",
    "gitea": "/api/v1/repos/team/bi",
}


@dataclass
class FakeForge:
    """`folder`: the bare repository that it hosts. `refuses`: (status, body) for the next requests that write."""

    kind: str
    folder: Path
    url: str = ""
    pulls: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuses: tuple[int, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        return f"{self.url}/team/bi.git"

    def merge(self, number: int) -> str:
        """Somebody presses the button: the branch it goes into moves to what was asked for."""
        pull = next(one for one in self.pulls if one["number"] == number)
        sha = git(self.folder, "rev-parse", f"refs/heads/{pull['head']}")
        git(self.folder, "update-ref", f"refs/heads/{pull['base']}", sha)
        pull["state"] = "merged"
        return sha

    def delivery(self, branch: str, secret: str) -> tuple[bytes, dict[str, str]]:
        """What it posts of a push: the body, and the headers as Django has them."""
        sha = git(self.folder, "rev-parse", f"refs/heads/{branch}")
        body = json.dumps({"ref": f"refs/heads/{branch}", "after": sha}).encode()
        return body, signed(self.kind, body, secret)

    # -- answers

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.refuses is not None:
            return self.refuses
        if path.startswith("/statuses/"):
            self.statuses.append((path.removeprefix("/statuses/"), body))
            return 201, {"id": len(self.statuses)}
        names = ("source_branch", "target_branch") if self.kind == "gitlab" else ("head", "base")
        head, base = (body[name] for name in names)
        if not git(self.folder, "branch", "--list", head):
            return self.invalid("head")
        if any((one["head"], one["base"], one["state"]) == (head, base, "open") for one in self.pulls):
            return self.taken(head)
        text = body["description" if self.kind == "gitlab" else "body"]
        self.pulls.append(
            {"number": len(self.pulls) + 1, "head": head, "base": base, "state": "open", "text": text}
            | {"title": body["title"]}
        )
        return 201, self.shown(self.pulls[-1])

    def get(self, path: str, asked: dict[str, str]) -> tuple[int, Any]:
        rows = [one for one in self.pulls if one["state"] == "open"]
        if self.kind == "github":
            rows = [
                one for one in rows if (f"team:{one['head']}", one["base"]) == (asked["head"], asked["base"])
            ]
        if self.kind == "gitlab":
            wanted = (asked["source_branch"], asked["target_branch"])
            rows = [one for one in rows if (one["head"], one["base"]) == wanted]
        return 200, [self.shown(one) for one in rows]

    def shown(self, one: dict[str, Any]) -> dict[str, Any]:
        if self.kind == "gitlab":
            url = f"https://gitlab.example/team/bi/-/merge_requests/{one['number']}"
            return {"id": 9000, "iid": one["number"], "web_url": url} | {
                "source_branch": one["head"],
                "target_branch": one["base"],
            }
        url = f"https://{self.kind}.example/team/bi/pull/{one['number']}"
        ends = {"head": {"ref": one["head"]}, "base": {"ref": one["base"]}}
        return {"id": 9000, "number": one["number"], "html_url": url, **ends}

    def taken(self, head: str) -> tuple[int, Any]:
        if self.kind == "github":
            said = {"resource": "PullRequest", "code": "custom"}
            said["message"] = f"A pull request already exists for team:{head}."
            return 422, {"message": "Validation Failed", "errors": [said]}
        if self.kind == "gitlab":
            return 409, {"message": ["Another open merge request already exists for this source branch: !1"]}
        return 409, {"message": "pull request already exists for these targets [id: 1]", "url": "x"}

    def invalid(self, name: str) -> tuple[int, Any]:
        if self.kind == "github":
            said = {"resource": "PullRequest", "field": name, "code": "invalid"}
            return 422, {"message": "Validation Failed", "errors": [said]}
        if self.kind == "gitlab":
            return 400, {"message": {"source_branch": ["is invalid"]}}
        return 404, {"message": "The target couldn't be found."}


def signed(kind: str, body: bytes, secret: str) -> dict[str, str]:
    tag = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "github": {"HTTP_X_HUB_SIGNATURE_256": f"sha256={tag}", "HTTP_X_GITHUB_EVENT": "push"},
        "gitlab": {"HTTP_X_GITLAB_TOKEN": secret, "HTTP_X_GITLAB_EVENT": "Push Hook"},
        "gitea": {"HTTP_X_GITEA_SIGNATURE": tag, "HTTP_X_GITEA_EVENT": "push"},
    }[kind]


@contextmanager
def forge_server(kind: str, folder: Path, token: str = TOKEN) -> Iterator[FakeForge]:
    """The API of one of the three, at an address of this machine."""
    fake = FakeForge(kind, folder)
    wanted = f"{'token' if kind == 'gitea' else 'Bearer'} {token}"

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            path, _, query = self.path.partition("?")
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if self.headers.get("Authorization") != wanted:
                answer: tuple[int, Any] = (401, {"message": "Bad credentials"})
            elif not unquote(path).startswith(unquote(PATHS[kind])):
                answer = (404, {"message": "Not Found"})
            elif self.command == "POST":
                answer = fake.post(path.removeprefix(PATHS[kind]), body)
            else:
                answer = fake.get(path, {name: values[0] for name, values in parse_qs(query).items()})
            self.send_response(answer[0])
            for name, value in fake.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(answer[1]).encode())

        do_GET = do_POST = handle_any

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
