"""A loopback look-alike of ADFS (and, with `tenant`, of Entra ID): TLS with a throw-away authority, discovery, signing
keys with certificates, the code flow with PKCE and one-time codes. It can change its keys and forge tokens.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

CLIENT_ID = "ss-tools-client"
CLIENT_SECRET = "canary-client-secret-0123456789"
RESOURCE = "https://ss-tools.test/"
TTL = 3600


def certified_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A signing key, and its self-signed certificate in DER."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signing")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(serialization.Encoding.DER)


class FakeAdfs:
    """`users`: name -> claims. `asked`: (method, path) of what it was asked. A sign-in without PKCE is refused."""

    def __init__(self, users: dict[str, dict[str, Any]], folder: Path, prefix: str = "/adfs") -> None:
        self.users = users
        self.prefix = prefix
        self.asked: list[tuple[str, str]] = []
        self.codes: dict[str, tuple[str, dict[str, str]]] = {}
        self.lost_nonce = False
        self.rotate()
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.host = f"localhost:{self.server.server_address[1]}"
        self.issuer = f"https://{self.host}{prefix}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def rotate(self) -> None:
        """New signing keys; the old ones are gone."""
        self.key, der = certified_key()
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        self.jwk = {**public, "use": "sig", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}

    def token(self, user: str, *, without: str = "", **claims: Any) -> str:
        """A signed access token of `user`; `claims` over what it would say, `without` one of them."""
        now = int(time.time())
        said = {
            **self.users.get(user, {}),
            "sub": f"subject-of-{user}",
            "iss": self.issuer,
            "aud": RESOURCE,
            "iat": now,
            "exp": now + TTL,
            **claims,
        }
        said.pop(without, None)
        return jwt.encode(said, self.key, "RS256")

    def answer(
        self, method: str, target: str, form: dict[str, str]
    ) -> tuple[int, dict[str, str], str | dict[str, Any]]:
        """(status, headers, body) for a request."""
        address = urlsplit(target)
        query = dict(parse_qsl(address.query))
        path = address.path.removeprefix(self.prefix)
        self.asked.append((method, path))
        if path == "/.well-known/openid-configuration":
            at = {
                "authorization_endpoint": "/oauth2/authorize",
                "token_endpoint": "/oauth2/token",
                "end_session_endpoint": "/oauth2/logout",
                "jwks_uri": "/discovery/keys",
            }
            said = {name: self.issuer + place for name, place in at.items()}
            return (
                200,
                {},
                {
                    **said,
                    "issuer": self.issuer,
                    "access_token_issuer": self.issuer,
                    "msgraph_host": "localhost",
                },
            )
        if path == "/discovery/keys":
            return 200, {}, {"keys": [self.jwk]}
        if path == "/oauth2/authorize" and method == "GET":
            if query.get("client_id") != CLIENT_ID or "code_challenge" not in query:
                return 400, {}, {"error": "invalid_request"}
            buttons = "".join(
                f"<button name=user value={html.escape(name)}>{html.escape(name)}</button>"
                for name in self.users
            )
            return 200, {}, f"<form method=post><h1>Company sign-in</h1>{buttons}</form>"
        if path == "/oauth2/authorize":
            code = secrets.token_urlsafe(16)
            self.codes[code] = (form["user"], query)
            back = urlencode({"code": code, "state": query.get("state", "")})
            return 302, {"Location": f"{query['redirect_uri']}?{back}"}, ""
        if path == "/oauth2/token" and method == "POST":
            return self._exchange(form)
        if path == "/oauth2/logout":
            return 200, {}, "<h1>Signed out of the company</h1>"
        return 404, {}, {"error": "not_found"}

    def _exchange(self, form: dict[str, str]) -> tuple[int, dict[str, str], dict[str, Any]]:
        user, asked = self.codes.pop(form.get("code", ""), ("", {}))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        fits = (
            user
            and form.get("client_secret") == CLIENT_SECRET
            and form.get("redirect_uri") == asked["redirect_uri"]
            and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        )
        if not fits:
            return 400, {}, {"error": "invalid_grant", "error_description": "MSIS9612: the code is not valid"}
        nonce = "another" if self.lost_nonce else asked["nonce"]
        return (
            200,
            {},
            {
                "access_token": self.token(user),
                "id_token": self.token(user, aud=CLIENT_ID, nonce=nonce),
                "token_type": "bearer",
                "expires_in": TTL,
            },
        )


def _handler(provider: FakeAdfs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._answer(dict(parse_qsl(self.rfile.read(length).decode())))

        def _answer(self, form: dict[str, str]) -> None:
            status, headers, body = provider.answer(self.command, self.path, form)
            is_json = isinstance(body, dict)
            data = (json.dumps(body) if is_json else str(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if is_json else "text/html")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    return Handler
