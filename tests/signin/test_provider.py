"""Sign-in through a real OpenID provider (npm oidc-provider, which demands PKCE) in a real browser."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from sstools.roles.models import Grant, Group
from tests.fakes.adfs import CLIENT_ID, CLIENT_SECRET, RESOURCE, certified_key

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("provider"),
]
HERE = Path(__file__).parent / "provider"
SCRIPT = (
    "http://127.0.0.1:1/script"  # where a program of its own would be sent back to; nothing listens there
)


@dataclass
class RealProvider:
    host: str
    ca_file: Path
    users_file: Path

    def say(self, **users: dict[str, Any]) -> None:
        self.users_file.write_text(json.dumps(users))

    def access_token(self, user: str) -> str:
        """As a program gets one for `user`: the code flow, without a browser."""
        verifier = secrets.token_urlsafe(48)
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": SCRIPT,
            "resource": RESOURCE,
            "code_challenge": digest,
            "code_challenge_method": "S256",
            "nonce": "n",
        }
        base = f"https://{self.host}/adfs/oauth2"
        with httpx.Client(verify=ssl.create_default_context(cafile=str(self.ca_file))) as client:
            page = client.get(f"{base}/authorize", params=asked, follow_redirects=True)
            answer = client.post(page.url, data={"prompt": "login", "login": user, "password": "x"})
            while not (where := answer.headers["location"]).startswith(SCRIPT):
                answer = client.get(httpx.URL(answer.url).join(where))
            form = {
                "grant_type": "authorization_code",
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "redirect_uri": SCRIPT,
                "code": parse_qs(urlsplit(where).query)["code"][0],
                "code_verifier": verifier,
            }
            return str(client.post(f"{base}/token", data=form).json()["access_token"])


@pytest.fixture(scope="session")
def modules() -> Path:
    """The provider's packages, installed once for all checkouts."""
    if not (shutil.which("node") and shutil.which("npm")):
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail("node and npm are needed for the real OpenID provider")
        pytest.skip("no node and npm here for the real OpenID provider")
    wanted = (HERE / "package.json").read_bytes()
    home = Path(os.environ.get("SSTOOLS_LAB_DIR") or HERE.parents[2] / "var" / "lab")
    folder = home / f"provider-{hashlib.sha256(wanted).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it
        if not (folder / "done").exists():
            (folder / "package.json").write_bytes(wanted)
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
            subprocess.run(command, cwd=folder, check=True, timeout=300)
            (folder / "done").touch()
    return folder


@pytest.fixture
def real(
    modules: Path, tmp_path: Path, live_server: Any, configure: Callable[[str, str], None]
) -> Iterator[RealProvider]:
    authority = trustme.CA()
    ca_file, cert, key = tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key"
    authority.cert_pem.write_to_path(str(ca_file))
    issued = authority.issue_cert("localhost")
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    signing, der = certified_key()
    pem = signing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    private = json.loads(
        jwt.algorithms.RSAAlgorithm.to_jwk(serialization.load_pem_private_key(pem, None))  # type: ignore[arg-type]
    )
    private.pop("key_ops")  # "sign" alone: the provider would not verify its own tokens when people sign out
    jwks = tmp_path / "jwks.json"
    jwks.write_text(
        json.dumps(
            [{**private, "kid": "one", "use": "sig", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}]
        )
    )
    users = tmp_path / "users.json"
    users.write_text("{}")
    shutil.copy(HERE / "provider.mjs", modules / "provider.mjs")
    settings = {
        "port": 0,
        "cert": str(cert),
        "key": str(key),
        "jwks": str(jwks),
        "users": str(users),
        "secret": CLIENT_SECRET,
        "redirects": [f"{live_server.url}/oauth2/callback", SCRIPT],
        "afterwards": [f"{live_server.url}/login/"],
    }
    process = subprocess.Popen(
        ["node", "provider.mjs"],
        cwd=modules,
        env={**os.environ, "PROVIDER": json.dumps(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if ready := re.match(r"ready (\d+)", line):
                break
        else:
            raise AssertionError(f"the provider ended with {process.wait()}")
        host = f"localhost:{ready[1]}"
        configure(host, str(ca_file))
        yield RealProvider(host, ca_file, users)
    finally:
        process.terminate()
        process.wait(10)


ANNA = {"winaccountname": "anna", "given_name": "Anna", "family_name": "Berg", "email": "anna@corp.test"}


def sign_in(page: Any, name: str) -> None:
    page.get_by_role("link", name="Sign in with your company account").click()
    page.get_by_placeholder("Enter any login").fill(name)
    page.get_by_placeholder("and password").fill("anything")
    page.get_by_role("button", name="Sign-in").click()


def test_a_person_of_the_directory_with_the_roles_of_their_groups(
    real: RealProvider, open_page: Callable[..., Any], live_server: Any
) -> None:
    for name, role in (("BI-Release", "release_lead"), ("BI-View", "viewer")):
        Grant.objects.create(group=Group.objects.create(name=name, source="adfs"), role=role)
    real.say(anna={**ANNA, "group": ["BI-Release", "BI-View"]})

    page = open_page(None, "/jobs/?state=failed", ignore_https_errors=True)
    sign_in(page, "anna")
    page.wait_for_url(f"{live_server.url}/jobs/?state=failed")  # the page that was asked for
    user = get_user_model().objects.get(username="anna")
    assert sorted(user.access_groups.values_list("name", flat=True)) == ["BI-Release", "BI-View"]
    assert APIClient().get("/api/v1/jobs/").status_code == 401
    token = real.access_token("anna")
    assert APIClient().get("/api/v1/jobs/", HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 200

    page.goto("/")
    page.locator("form[action$='/logout/'] button").first.evaluate("button => button.click()")
    page.wait_for_url(f"https://{real.host}/**")  # there too
    page.get_by_role("button", name="Yes, sign me out").click()
    page.wait_for_url(f"{live_server.url}/login/**")
    page.goto("/jobs/")
    assert "/login/" in page.url

    real.say(anna={**ANNA, "group": ["BI-View"]})
    sign_in(page, "anna")
    page.wait_for_url(f"{live_server.url}/jobs/")
    assert list(user.access_groups.values_list("name", flat=True)) == ["BI-View"]


def test_tokens_that_are_not_good_open_nothing(real: RealProvider) -> None:
    real.say(anna={**ANNA, "group": "BI-View"})
    token = real.access_token("anna")
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    foreign = jwt.encode(claims, certified_key()[0], "RS256")
    unsigned = jwt.encode(claims, None, "none")
    for bad in (f"{head}.{body[:-4]}AAAA.{signature}", foreign, unsigned, f"{head}.{body}."):
        assert APIClient().get("/api/v1/jobs/", HTTP_AUTHORIZATION=f"Bearer {bad}").status_code == 401
    assert APIClient().get("/api/v1/jobs/", HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 200
