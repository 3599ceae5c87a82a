"""django-auth-adfs with its gaps closed. Imported only where a directory is configured: the library reads its settings
at import.

What it lacks as released (1.16.0), each seen happening: the answer of the provider is not bound to the browser that
asked (login CSRF), no PKCE, no nonce, tokens without `exp` are good for ever, a provider that does not answer is a 500,
new signing keys are unknown for a day, users are matched by name and groups replace what was given by hand.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import jwt
import requests
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django_auth_adfs.backend import AdfsBaseBackend
from django_auth_adfs.config import ConfigLoadError, ProviderConfig, provider_config
from django_auth_adfs.config import settings as adfs
from django_auth_adfs.exceptions import MFARequired

from sstools.errors import Unavailable
from sstools.secrets import decrypt, encrypt

from . import directory

logger = logging.getLogger(__name__)

PENDING = "signin_pending"  # session key: what the answer of the provider must fit to
HINT = "signin_id_token"  # session key: the id token, encrypted, for signing out there too
PENDING_SECONDS = 600
ASK_AGAIN = timedelta(minutes=1)  # the provider's keys, at most so often for tokens that do not fit
KEEP_FOR = timedelta(minutes=5)  # what is known goes on counting while the provider does not answer
MOST_PENDING = 5  # tabs of one browser that sign in at the same time
ALGORITHMS = ["RS256", "RS384", "RS512"]
FAILURES = (requests.RequestException, ConfigLoadError, RuntimeError, KeyError, ValueError, TypeError)


class ProviderUnavailable(Unavailable):
    code = "provider_unavailable"
    message = "The company's sign-in service does not answer."
    remedy = "Try again in a moment; who has a local account can use it meanwhile."


class SignInFailed(directory.SignInRefused):
    """The provider's answer is not good."""

    code, status, message = "sign_in_failed", 401, "The sign-in did not work."
    remedy = "Start again from the sign-in page."


class Provider(ProviderConfig):  # type: ignore[misc]  # the library has no types
    """Knows the provider's addresses and keys, and keeps knowing them while it does not answer."""

    def load_config(self) -> None:
        """Raises ProviderUnavailable if nothing is known yet and the provider does not answer."""
        try:
            super().load_config()
        except FAILURES as error:
            logger.warning("The sign-in provider cannot be asked: %s", type(error).__name__)
            if self.authorization_endpoint is None or not self.signing_keys:
                raise ProviderUnavailable from error
            self._config_timestamp = (
                datetime.now() - timedelta(hours=adfs.CONFIG_RELOAD_INTERVAL) + KEEP_FOR
            )  # as naive as the library's own

    def ask_again(self) -> bool:
        """Ask for the keys anew, unless that was just done. Returns whether it was asked."""
        known_since: datetime | None = self._config_timestamp
        if known_since and datetime.now() - known_since < ASK_AGAIN:
            return False
        self._config_timestamp = None  # type: ignore[assignment]
        self.load_config()
        return True


class Directory(AdfsBaseBackend):  # type: ignore[misc]
    """Exchanges codes and checks tokens; who the user is, `directory` says."""

    def person(self, token: str) -> directory.Person:
        """Who an access token is about. Raises SignInFailed, SignInRefused, ProviderUnavailable."""
        provider_config.load_config()
        try:
            claims = self._claims(token)
            groups = self.process_user_groups(claims, token)
        except PermissionDenied:
            raise SignInFailed("The token is not valid, or has expired.") from None
        except MFARequired:
            raise SignInFailed("The company asks for a second factor.") from None
        except requests.RequestException as error:
            raise ProviderUnavailable from error
        return directory.person_of(claims, groups)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims = self.validate_access_token(token)
        except PermissionDenied:
            if not provider_config.ask_again():
                raise
            claims = self.validate_access_token(token)
        if not claims or "exp" not in claims:
            raise PermissionDenied
        if adfs.BLOCK_GUEST_USERS and claims.get("tid") != adfs.TENANT_ID:
            raise PermissionDenied
        return dict(claims)

    def tokens(self, request: HttpRequest, code: str, pending: dict[str, Any]) -> dict[str, Any]:
        """Exchange a code. Raises SignInFailed, ProviderUnavailable."""
        data = {
            "grant_type": "authorization_code",
            "client_id": adfs.CLIENT_ID,
            "redirect_uri": provider_config.redirect_uri(request),
            "code": code,
            "code_verifier": pending["verifier"],
        }
        if adfs.CLIENT_SECRET:
            data["client_secret"] = adfs.CLIENT_SECRET
        try:
            answer = provider_config.session.post(
                provider_config.token_endpoint, data=data, timeout=adfs.TIMEOUT
            )
            tokens = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise ProviderUnavailable from error
        if answer.status_code >= 500:
            raise ProviderUnavailable
        if answer.status_code != 200 or not isinstance(tokens, dict) or not tokens.get("access_token"):
            why = tokens.get("error", "") if isinstance(tokens, dict) else ""
            logger.warning("The provider did not take the code: %s %s", answer.status_code, str(why)[:100])
            raise SignInFailed
        self._check_id_token(tokens.get("id_token"), pending["nonce"])
        return tokens

    def _check_id_token(self, token: Any, nonce: str) -> None:
        """Signed by the provider, made for us, for this very sign-in. Only the OAuth mode of old ADFS sends none."""
        if not token:
            if provider_config._mode == "openid_connect":
                raise SignInFailed("The provider sent no id token.")
            return
        for key in provider_config.signing_keys:
            try:
                claims = jwt.decode(
                    token,
                    key=key,
                    algorithms=ALGORITHMS,
                    audience=adfs.CLIENT_ID,
                    leeway=adfs.JWT_LEEWAY,
                    options={"require": ["exp", "aud"]},
                )
            except jwt.InvalidTokenError:
                continue
            if secrets.compare_digest(str(claims.get("nonce", "")), nonce):
                return
        raise SignInFailed("The provider's answer belongs to another sign-in.")


def _guard_library() -> None:
    """The library has one object for its provider, made at import, that its own classes refer to."""
    provider_config.__class__ = Provider
    # REQUESTS_CA_BUNDLE of the environment would beat the configured certificate; a proxy is set by SSTOOLS_ADFS_PROXY.
    provider_config.session.trust_env = False


_guard_library()
backend = Directory()


def begin(request: HttpRequest, next_url: str) -> str:
    """Start a sign-in of this browser. Returns the provider's address to send it to. Raises ProviderUnavailable."""
    address = urlsplit(provider_config.build_authorization_endpoint(request))
    state, verifier, nonce = (secrets.token_urlsafe(size) for size in (24, 48, 24))
    now = time.time()
    waiting = request.session.get(PENDING) or {}
    fresh = {key: value for key, value in waiting.items() if now - value["at"] < PENDING_SECONDS}
    newest = dict(sorted(fresh.items(), key=lambda item: item[1]["at"])[-(MOST_PENDING - 1) :])
    newest[state] = {"verifier": verifier, "nonce": nonce, "next": next_url, "at": now}
    request.session[PENDING] = newest
    digest = hashlib.sha256(verifier.encode()).digest()
    query = dict(parse_qsl(address.query)) | {
        "state": state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return str(urlunsplit(address._replace(query=urlencode(query))))


def complete(request: HttpRequest) -> tuple[Any, str, str]:
    """Finish a sign-in that this browser began: (user, where to go on, id token).

    Raises SignInFailed, SignInRefused, ProviderUnavailable.
    """
    waiting = request.session.get(PENDING) or {}
    pending = waiting.pop(request.GET.get("state", ""), None)
    request.session[PENDING] = waiting
    if pending is None or time.time() - pending["at"] > PENDING_SECONDS:
        raise SignInFailed(
            "This sign-in was not started in this browser, or too long ago.",
            code="not_started_here",
            status=400,
        )
    if not (code := request.GET.get("code")):
        denied = request.GET.get("error") == "access_denied"
        said = "You were not let in by the company's sign-in service." if denied else SignInFailed.message
        raise SignInFailed(said, code="denied_by_provider", status=400)
    provider_config.load_config()
    tokens = backend.tokens(request, code, pending)
    user = directory.user_for(backend.person(tokens["access_token"]), via="sign-in")
    return user, pending["next"], str(tokens.get("id_token") or "")


def bearer_user(token: str) -> Any:
    """The user of an access token of the provider. Raises SignInFailed, SignInRefused, ProviderUnavailable."""
    return directory.user_for(backend.person(token), via="api")


def remember(request: HttpRequest, id_token: str) -> None:
    """Keep what signing out at the provider needs."""
    if id_token:
        request.session[HINT] = encrypt(id_token)


def leave(request: HttpRequest, back: str) -> str:
    """The provider's address for signing out there too, or "" if it has none or does not answer."""
    try:
        endpoint = provider_config.build_end_session_endpoint()
    except ProviderUnavailable:
        return ""
    if not endpoint:
        return ""
    query = {"client_id": settings.AUTH_ADFS["CLIENT_ID"], "post_logout_redirect_uri": back}
    if hint := request.session.get(HINT):
        query["id_token_hint"] = str(decrypt(hint))
    address = urlsplit(endpoint)
    return str(urlunsplit(address._replace(query=urlencode([*parse_qsl(address.query), *query.items()]))))
