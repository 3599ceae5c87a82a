"""No credential is anywhere in clear: ss-tools runs with a canary in every field that holds one, everything around it
gives back what it was told, and then all that was stored, logged, shown and answered is searched.

A new encrypted column, a new field or setting that sounds like a credential, and a new address are noticed here.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from cryptography.fernet import Fernet
from django.apps import apps

from environments.superset.archives import pack_files
from sstools.secrets import secret_fields
from tests.canary import hostile
from tests.environments.conftest import fill
from tests.fakes.superset import FakeSuperset
from tests.infra.server import OwnPostgres
from tests.permission_world import routes
from tests.plugins import packages
from tests.sstools.test_workers import ROOT, Installation, finished, wait_for

pytestmark = [pytest.mark.xdist_group("infra")]
BIRD = "kanari"  # part of every canary
#: The same in base64, wherever in a group of three it begins.
HIDDEN_BIRDS = ("a2FuYXJp", "thbmFya", "rYW5hcm")

#: Encrypted columns; the scenario fills each of them.
ENCRYPTED = {
    "environments.Environment.secret",
    "git.Repository.forge_secret",
    "git.Repository.hook_secret",
    "git.Repository.secret",
    "notices.Webhook.url",
    "notices.Webhook.secret",
    "plugins.Plugin.secrets",
}
#: The same of what is kept until a job has read it, and is gone afterwards.
PASSING = {"files.FileAudit.file", "files.FileAudit.values"}
#: Columns that sound like a credential and hold none, with the reason.
HARMLESS = {
    "roles.ApiToken.hash": "of a random text, which nobody can find out",
    "roles.KeyCheck.value": "encrypted",
    "auth.User.password": "hashed by Django",
    "environments.Environment.secret_reference": "where it is, not what it is",
    "sessions.Session.session_key": "of Django, which finds a session by it; searched for everywhere else",
    "signin.UserSession.session_key": "the same",
    "signin.Identity.token_issued_at": "a time",
    "axes.AccessAttempt.failures_since_start": "a number",
}
SESSION_TABLES = ("table django_session", "table signin_usersession")
SUSPICIOUS = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|(^|_)(api|private|session|signing|access)_?key|cookie",
    re.I,
)


def canary(name: str) -> str:
    return f"{BIRD}{name}{secrets.token_hex(6)}"


@dataclass
class Aviary:
    """`birds`: what must not be seen; `seen`: where one looks -> what is there."""

    birds: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.birds.setdefault(name, canary(name))

    def look(self) -> list[str]:
        found = []
        for place, text in self.seen.items():
            low = text.lower()
            spots = [match.start() for match in re.finditer(BIRD, low)]
            for hidden in (*HIDDEN_BIRDS, *(bird for bird in self.birds.values() if BIRD not in bird)):
                if hidden != self.birds.get("session") or place not in SESSION_TABLES:
                    spots += [match.start() for match in re.finditer(re.escape(hidden), text)]
            found += [f"{place}: …{text[max(0, spot - 160) : spot + 60]!r}" for spot in sorted(spots)[:3]]
        return found


def test_every_column_that_sounds_like_a_credential_is_known() -> None:
    found = {
        f"{model._meta.label}.{one.name}"
        for model, one in secret_fields()
        if "trial" not in model._meta.label
    }
    assert found == ENCRYPTED | PASSING, "plant a canary in the new column, below, and look for it"
    unknown = [
        name
        for model in apps.get_models()
        for one in model._meta.local_concrete_fields
        if SUSPICIOUS.search(one.name)
        and (name := f"{model._meta.label}.{one.name}") not in ENCRYPTED | HARMLESS.keys()
        and not name.startswith("trial.")
    ]
    assert unknown == [], "a SecretField, or a reason in HARMLESS"


def settings_with_secrets() -> set[str]:
    text = (ROOT / "sstools" / "settings.py").read_text()
    return set(re.findall(r'env_(?:secret|mail_server)\(\s*"(\w+)"', text))


@pytest.fixture
def server() -> Iterator[OwnPostgres]:
    made = OwnPostgres()
    try:
        yield made
    finally:
        made.close()


@dataclass
class Around:
    """Whom ss-tools talks to."""

    fakes: dict[str, FakeSuperset]
    urls: dict[str, str]
    calls: list[str]
    mails: list[str]
    hook: str
    mail_port: int


@pytest.fixture
def around() -> Iterator[Around]:
    with contextlib.ExitStack() as stack:

        def ends(server: Any) -> Any:
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return server

        fakes = {
            name: fill(FakeSuperset())
            for name in ("zebra", "dev", "token", "ldap", "session", "variable", "file")
        }
        urls = {
            name: f"http://127.0.0.1:{ends(hostile.serve_superset(fake)).server_address[1]}"
            for name, fake in fakes.items()
        }
        calls: list[str] = []
        mails: list[str] = []
        hook = ends(hostile.serve_webhooks(calls)).server_address[1]
        mail = ends(hostile.serve_mail(mails)).server_address[1]
        yield Around(fakes, urls, calls, mails, f"http://127.0.0.1:{hook}/hook", mail)


def test_no_credential_is_anywhere_in_clear(tmp_path: Path, server: OwnPostgres, around: Around) -> None:
    birds = Aviary()
    for name in ("field_key", "backup_key"):
        birds.birds[name] = Fernet.generate_key().decode()
    installation = Installation(tmp_path)
    database = server.new_database().replace("//postgres@", f"//postgres:{birds['database']}@")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "superset").write_text(birds["file"])
    planted = {
        "SSTOOLS_SECRET_KEY": birds["secret_key"],
        "SSTOOLS_FIELD_KEYS": birds["field_key"],
        "SSTOOLS_DATABASE_URL": database,
        "SSTOOLS_ADMIN_PASSWORD": birds["first_password"],
        "SSTOOLS_MAIL_URL": f"smtp+plain://svc:{birds['mail']}@127.0.0.1:{around.mail_port}",
        "SSTOOLS_SSO_CLIENT_SECRET": birds["sso"],
        "SSTOOLS_BACKUP_S3_ACCESS_KEY": birds["s3_access_key"],
        "SSTOOLS_BACKUP_S3_SECRET_KEY": birds["s3_secret_key"],
        "SSTOOLS_BACKUP_ENCRYPTION_KEYS": birds["backup_key"],
    }
    modules = tmp_path / "plugins"
    modules.mkdir()
    packages.install(packages.build(packages.of_code("leaky", hostile.LEAKY), tmp_path), modules)
    assert planted.keys() == settings_with_secrets(), "a new secret among the settings: plant a canary in it"
    installation.env |= planted | {
        "SUPERSET_CANARY": birds["variable"],
        "SSTOOLS_PLUGINS_DIR": str(modules),
        "SSTOOLS_BACKUP_S3_BUCKET": "canaries",
        "SSTOOLS_BACKUP_S3_ENDPOINT": around.hook.removesuffix("/hook"),
        "SSTOOLS_DEBUG": "true",
        "SSTOOLS_LOG_LEVEL": "DEBUG",
        "SSTOOLS_OUTBOUND_ALLOW": "127.0.0.1",
        "SSTOOLS_ADFS_SERVER": "127.0.0.1:1",
        "SSTOOLS_SSO_CLIENT_ID": "client",
        "SSTOOLS_SSO_RESOURCE": "https://ss-tools.test/",
    }
    try:
        installation.start()
        Scenario(installation, birds, around).play()
        tree = [psutil.Process(installation.process.pid), *installation.processes()]  # type: ignore[union-attr]
        birds.seen["process list"] = "\n".join(" ".join(process.cmdline()) for process in tree)
    finally:
        installation.stop()
    birds.seen["log"] = installation.log.read_text()
    with psycopg.connect(database) as postgres:
        tables = postgres.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = postgres.execute(f'SELECT t::text FROM "{table}" t').fetchall()  # type: ignore[arg-type]
            birds.seen[f"table {table}"] = "\n".join(row[0] for row in rows)
        for model, one in secret_fields():
            if f"{model._meta.label}.{one.name}" in PASSING:
                assert postgres.execute(f'SELECT count(*) FROM "{model._meta.db_table}"').fetchone() != (0,)  # type: ignore[arg-type]
            elif f"{model._meta.label}.{one.name}" in ENCRYPTED:
                sql = f'SELECT count(*) FROM "{model._meta.db_table}" WHERE "{one.column}" <> \'\''
                assert postgres.execute(sql).fetchone() != (0,), f"nothing was planted in {one}"  # type: ignore[arg-type]
    for path in tmp_path.rglob("*"):
        if (
            path.is_file()
            and path.parent != credentials
            and path != installation.log
            and "static" not in path.parts
        ):
            birds.seen[f"file {path.relative_to(tmp_path)}"] = path.read_bytes().decode("latin-1")
    sizes = {place.split()[0]: 0 for place in birds.seen}
    for place, text in birds.seen.items():
        sizes[place.split()[0]] += len(text)
    assert sizes["log"] > 5_000, sizes
    assert sizes["table"] > 100_000, sizes
    assert sizes["GET"] > 1_000_000, sizes
    found = birds.look()
    assert not found, f"{len(found)} times:\n" + "\n".join(found[:40])


class Scenario:
    """What people and programs do, one after the other, with everything going wrong around them."""

    def __init__(self, installation: Installation, birds: Aviary, around: Around) -> None:
        self.installation, self.birds, self.around = installation, birds, around
        self.base = f"http://127.0.0.1:{installation.port}"
        self.http = httpx.Client(base_url=self.base, trust_env=False, timeout=60, follow_redirects=False)

    def note(self, name: str, response: httpx.Response) -> httpx.Response:
        self.birds.seen[f"answer {name} {len(self.birds.seen)}"] = f"{response.headers}\n{response.text}"
        return response

    def shell(self, code: str) -> None:
        ended = subprocess.run(
            [
                sys.executable,
                "manage.py",
                "shell",
                "--no-imports",
                "-c",
                f"from tests.canary import inside; {code}",
            ],
            cwd=ROOT,
            env=self.installation.env,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        self.birds.seen[f"shell {code[:20]}"] = ended.stdout + ended.stderr

    def play(self) -> None:
        self.shell("inside.prepare()")
        self.sign_in()
        self.environments()
        self.webhooks_and_people()
        self.work()
        self.shell("inside.store_away()")
        self.installation.env |= {
            "CANARY_GIT": self.around.hook.removesuffix("/hook"),
            "CANARY_TOKEN": self.birds["git"],
            "CANARY_FORGE": self.birds["forge"],
            "CANARY_HOOK": self.birds["hook"],
        }
        self.shell("inside.connect_repository()")
        self.installation.env["CANARY_PLUGIN"] = self.birds["plugin"]
        self.shell("inside.plug_in()")
        self.look_around()

    # -- the parts

    def sign_in(self) -> None:
        page = self.http.get("/login/")
        form = {"csrfmiddlewaretoken": self.http.cookies["sstools_csrf"], "username": "first"}
        self.note("login", page)
        self.note("login", self.http.post("/login/", data={**form, "password": self.birds["wrong_password"]}))
        self.note("login", self.http.get("/oauth2/login"))
        self.note(
            "login",
            self.http.get("/oauth2/callback?code=kanari-code&state=x".replace("kanari", self.birds["code"])),
        )
        right = self.http.post("/login/", data={**form, "password": self.birds["first_password"]})
        assert right.status_code == 302, right.text
        self.birds.birds["session"] = self.http.cookies["sstools_session"]
        asked = {"username": "first", "password": self.birds["first_password"], "name": "canary"}
        made = httpx.post(f"{self.base}/api/v1/tokens/", json=asked, trust_env=False)
        assert made.status_code == 201, made.text
        self.birds.birds["api_token"] = made.json()["token"]
        self.api = httpx.Client(
            base_url=f"{self.base}/api/v1/",
            headers={"Authorization": f"Bearer {made.json()['token']}"},
            trust_env=False,
            timeout=60,
        )
        self.birds.birds["bearer"] = f"sst_{canary('bearer')}"
        stranger = {"Authorization": f"Bearer {self.birds['bearer']}"}
        refused = self.note("token", httpx.get(f"{self.base}/api/v1/me/", headers=stranger, trust_env=False))
        assert refused.status_code == 401

    def environments(self) -> None:
        birds, urls, fakes = self.birds, self.around.urls, self.around.fakes
        for name in ("zebra", "dev"):
            fakes[name].users = {"admin": birds[name]}
        fakes["ldap"].users = {"admin": birds["ldap"]}
        fakes["session"].users = {"admin": birds["session"]}
        self.uuids = {row["slug"]: row["uuid"] for row in self.api.get("environments/").json()["results"]}
        for name in ("zebra", "dev"):
            values = {"url": urls[name], "auth_kind": "password", "username": "admin", "secret": birds[name]}
            changed = self.note(
                "environment", self.api.patch(f"environments/{self.uuids[name]}/", json=values)
            )
            assert changed.status_code == 200, changed.text
        kinds: dict[str, dict[str, str]] = {
            "token": {"auth_kind": "token", "secret": birds["token"]},
            "ldap": {"auth_kind": "ldap", "secret": birds["ldap"]},
            "session": {"auth_kind": "session", "secret": birds["session"]},
            "variable": {"auth_kind": "token", "secret_reference": "env:SUPERSET_CANARY"},
            "file": {
                "auth_kind": "password",
                "secret_reference": f"file:{self.installation.folder}/credentials/superset",
            },
        }
        for name, values in kinds.items():
            whole = {
                "name": f"By {name}",
                "slug": f"by-{name}",
                "url": urls[name],
                "username": "admin",
                **values,
            }
            made = self.note("environment", self.api.post("environments/", json=whole))
            assert made.status_code == 201, made.text
            self.uuids[f"by-{name}"] = made.json()["uuid"]
        for wrong in (
            {"proxy_url": f"http://me:{birds['proxy']}@127.0.0.1:1"},
            {"url": f"http://me:{birds['in_url']}@127.0.0.1:1"},
            {"secret": birds["zebra"], "auth_kind": "nonsense"},
            {"secret_reference": f"file:/etc/{birds['reference']}"},
        ):
            refused = self.note(
                "environment", self.api.patch(f"environments/{self.uuids['zebra']}/", json=wrong)
            )
            assert refused.status_code in (400, 422), refused.text

    def webhooks_and_people(self) -> None:
        birds = self.birds
        birds.birds["hook_url"] = f"{self.around.hook}?key={birds['hook_key_in_url']}"
        hook = {"name": "Canary hook", "url": birds["hook_url"], "secret": birds["hook_key"], "scope": "*"}
        made = self.note("webhook", self.api.post("webhooks/", json=hook))
        assert made.status_code == 201, made.text
        self.hook = made.json()["uuid"]
        away = {**hook, "name": "Away", "url": f"http://127.0.0.1:1/{birds['hook_away']}"}
        assert self.note("webhook", self.api.post("webhooks/", json=away)).status_code == 201
        wrong = {**hook, "name": "Wrong", "url": f"http://metadata.invalid/{birds['hook_wrong']}"}
        assert self.note("webhook", self.api.post("webhooks/", json=wrong)).status_code in (400, 422)
        plugin = self.note(
            "plugin", self.api.patch("plugins/naming/settings/", json={"token": birds["plugin"]})
        )
        assert plugin.status_code == 200, plugin.text
        wrong = {"token": birds["plugin_wrong"], "prefix": ""}
        assert self.note("plugin", self.api.patch("plugins/naming/settings/", json=wrong)).status_code == 422
        wishes = [
            {"event": row["event"], "mine": True, "others": True}
            for row in self.api.get("me/notices/").json()
        ]
        assert self.note("notices", self.api.put("me/notices/", json=wishes)).status_code == 200
        person = self.note("user", self.api.post("access/users/", json={"username": "bird"})).json()
        link = self.api.post(f"access/users/{person['id']}/password-link/").json()
        with httpx.Client(base_url=self.base, trust_env=False, follow_redirects=True) as browser:
            page = browser.get(link["url"])
            fields = {
                name: birds["local_password"] for name in re.findall(r'name="(\w*password\w*)"', page.text)
            }
            assert len(fields) == 2, page.text
            done = browser.post(
                str(page.url), data={**fields, "csrfmiddlewaretoken": browser.cookies["sstools_csrf"]}
            )
            self.note("password", done)
            self.note("password", browser.post(str(page.url), data=fields))
        signed = httpx.post(
            f"{self.base}/api/v1/tokens/",
            json={"username": "bird", "password": birds["local_password"], "name": "x"},
            trust_env=False,
        )
        assert signed.status_code == 201, signed.text
        birds.birds["second_token"] = signed.json()["token"]
        program = {"csrfmiddlewaretoken": self.http.cookies["sstools_csrf"], "name": "ci", "days": "7"}
        pk = next(
            row["id"]
            for row in self.api.get("access/users/?page_size=200").json()["results"]
            if row["username"] == "program"
        )
        shown = self.http.post(f"/access/users/{pk}/tokens/", data=program)
        texts = re.findall(
            r"sst_[A-Za-z0-9_-]{20,}", shown.text + self.http.get(f"/access/users/{pk}/tokens/").text
        )
        assert texts, shown.text[:3000]
        birds.birds["program_token"] = texts[0]

    def work(self) -> None:
        """Each environment is tested and read four times: once as it should be, then with errors that tell all."""
        ways: list[Callable[[httpx.Request], httpx.Response] | None] = [
            None,
            hostile.refuses_with_all,
            hostile.breaks_with_all,
            hostile.leads_away_with_all,
        ]
        for number, way in enumerate(ways):
            for fake in self.around.fakes.values():
                if way is not None:
                    fake.expire_tokens()
                    fake._faults.clear()
                    if number == 1:  # sign-in works, what follows does not
                        fake.misbehave("GET", "/api/v1/", way, times=None)
                        fake.misbehave("POST", "/api/v1/chart", way, times=None)
                    else:
                        fake.misbehave("POST", "/", way, times=None)
                        fake.misbehave("GET", "/", way, times=None)
            jobs = []
            for uuid in self.uuids.values():
                for verb in ("check", "read"):
                    asked = self.note("job", self.api.post(f"environments/{uuid}/{verb}/"))
                    assert asked.status_code == 202, asked.text
                    jobs.append(asked.json()["uuid"])
            if number < 2:
                body = {"source": "dev", "target": "zebra", "all": True}
                migration = self.note("migration", self.api.post("migrations/", json=body))
                if migration.status_code == 201:
                    asked = self.api.post(f"migrations/{migration.json()['uuid']}/plan/")
                    jobs.append(self.note("job", asked).json()["uuid"])
            if number == 0:
                jobs += self.files()
            for job in jobs:
                wait_for(finished(self.installation, job), 180)
        self.note("webhook", self.api.post(f"webhooks/{self.hook}/try/"))
        wait_for(lambda: len(self.around.calls) > 1 and self.around.mails, 60)
        sent = "SELECT count(*) FROM notices_delivery WHERE attempts > 0 AND answer <> ''"
        wait_for(lambda: self.installation.rows(sent)[0][0] > 1, 60)
        assert any(self.birds["hook_key_in_url"] in call for call in self.around.calls)
        assert any(self.birds["mail"] in told for told in self.around.mails)

    def files(self) -> list[str]:
        """Trees with secrets in them, audited with values, and with templates that fail on those."""
        birds, jobs = self.birds, []
        database = {
            "database_name": "Canary",
            "uuid": "c0000000-0000-4000-8000-000000000001",
            "sqlalchemy_uri": f"postgresql://bi:{birds['tree_uri']}@dwh/x",
            "password": birds["tree_password"],
            "extra": {"engine_params": {"connect_args": {"token": birds["tree_extra"]}}},
        }
        values = json.dumps({"pass": birds["tree_value"]})
        for template in ("{{ pass }}", "{{ {}[pass] }}", "{{ pass"):
            files = {"databases/x.yaml": json.dumps({**database, "password": template}).encode()}
            asked = self.note(
                "file-audit",
                self.api.post(
                    "file-audits/",
                    data={"target": "zebra"},
                    files={"file": ("tree.zip", pack_files(files)), "values": ("values.yaml", values)},
                ),
            )
            assert asked.status_code == 202, asked.text
            jobs.append(asked.json()["job"])
        return jobs

    def look_around(self) -> None:
        out = self.installation.folder.parent / "crawl.jsonl"
        self.shell(f"inside.crawl({str(out)!r})")
        opened = set()
        for line in out.read_text().splitlines():
            row = json.loads(line)
            assert row["status"] < 500 or "readyz" in row["name"], f"{row['name']}: {row['text'][:2000]}"
            self.birds.seen[f"{row['name']} {len(self.birds.seen)}"] = row["text"]
            opened.add(row["name"])
        out.unlink()
        gets = sum("GET" in route.methods for route in routes())
        assert len(opened) > gets * 0.9, "most addresses of the map were opened"
