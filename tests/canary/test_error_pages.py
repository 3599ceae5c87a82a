"""Something breaks while a credential is in hand, with DEBUG on: the page shows all variables but those."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from sstools.notices.models import Webhook
from tests.factories import make_environment

User = get_user_model()
pytestmark = pytest.mark.django_db
PASSWORD, BEARER, KEY = "kanari-password-1", "sst_kanari-bearer-123456", "kanari-signing"
ADDRESS = "https://127.0.0.1:1/hook?key=kanari-in-the-address"
#: Where it breaks: in the middle of a service, of validation, of encryption, of signing in.
PLACES = (
    "sstools.audit.services.redact",
    "environments.validation._check_model",
    "sstools.outbound.check",
    "sstools.roles.tokens._hash",
    "django.contrib.auth.base_user.check_password",
    "sstools.secrets.encrypt",
)


@pytest.mark.parametrize("place", PLACES)
def test_the_page_of_an_error_shows_no_credential(place: str, make_user: Any, settings: Any) -> None:
    settings.DEBUG = True
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    settings.DATABASE_URL = "postgresql://me:kanari-database@localhost/x"
    settings.EMAIL_HOST_PASSWORD = "kanari-mail"
    root = make_user("root", is_superuser=True, is_staff=True)
    zebra = make_environment("zebra", secret="kanari-stored")
    hook = Webhook.objects.create(name="Hook", url=ADDRESS, secret=KEY, host="127.0.0.1")
    environment = {
        "name": "Zebra",
        "slug": "zebra",
        "tag": "ZEBRA",
        "url": zebra.url,
        "auth_kind": "password",
        "username": "u",
        "secret": PASSWORD,
        "position": 3,
        "colour": "prod",
        "read_timeout_seconds": 60,
        "import_timeout_seconds": 60,
        "max_parallel": 1,
    }
    form = {"name": "Hook", "scope": "*", "url": f"{ADDRESS}2", "secret": f"{KEY}2", "is_enabled": "on"}
    posts: list[tuple[str, dict[str, Any]]] = [
        ("/environments/zebra/edit/", environment),
        (f"/admin/environments/environment/{zebra.pk}/change/", environment),
        (f"/webhooks/{hook.uuid}/edit/", form),
        (f"/admin/notices/webhook/{hook.pk}/change/", form),
        ("/login/", {"username": "root", "password": PASSWORD}),
        ("/api/v1/tokens/", {"username": "root", "password": PASSWORD}),
        (f"/api/v1/environments/{zebra.uuid}/", {"secret": PASSWORD}),
        (f"/api/v1/webhooks/{hook.uuid}/", {"url": f"{ADDRESS}2", "secret": f"{KEY}2"}),
    ]
    client = Client(raise_request_exception=False)
    pages = []
    for path, data in posts:
        is_api = path.startswith("/api/")
        for accept in ("*/*", "application/json") if is_api else ("text/html", "text/plain"):
            by_token = place.endswith("_hash") and is_api
            headers = {"Authorization": f"Bearer {BEARER}"} if by_token else {}
            if by_token or "login" in path or "tokens" in path:
                client.logout()
            else:
                client.force_login(User.objects.get(pk=root.pk))
            send = client.patch if is_api and "tokens" not in path else client.post
            options: dict[str, Any] = {"content_type": "application/json"} if is_api else {}
            with mock.patch(place, side_effect=RuntimeError("broken on purpose, with password=kanari-said")):
                answer = send(path, data, headers={**headers, "Accept": accept}, **options)
            if answer.status_code == 500:
                pages.append((path, accept, answer.content.decode()))
    assert pages, "nothing broke"
    told = [
        f"{path} {text[max(0, spot - 300) : spot + 60]}"
        for path, _, text in pages
        if (spot := text.find("kanari")) >= 0
    ]
    assert not told, f"{len(told)} of {len(pages)} pages:\n" + "\n\n".join(told[:5])
    assert all("broken on purpose" in text for _, _, text in pages)
    shown = [text for path, accept, text in pages if accept == "text/html"]
    assert all("Local vars" in text for text in shown), "what it hides is there"
    assert shown or place.endswith("_hash"), "the REST framework has plain text only"
