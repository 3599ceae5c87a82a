"""`Authorization: Bearer <token>`: a user's own token, or an access token of the company's directory."""

from django.conf import settings
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from sstools.roles import tokens
from sstools.roles.models import ApiToken


class BearerAuthentication(BaseAuthentication):
    """Signs a request in. `request.auth` is the ApiToken, or None for a token of the directory.

    Raises AuthenticationFailed; SignInRefused (403) and ProviderUnavailable (503) for tokens of the directory.
    """

    def authenticate(self, request: Request) -> tuple[object, ApiToken | None] | None:
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"bearer":
            return None
        if len(header) != 2:
            raise exceptions.AuthenticationFailed("The Authorization header must be: Bearer <token>.")
        try:
            text = header[1].decode("ascii")
        except UnicodeDecodeError:
            raise exceptions.AuthenticationFailed("The token is not valid.") from None
        if settings.SSO and text.count(".") == 2:  # three parts: a JWT; ours have none
            return self._directory_user(text), None
        token = tokens.token_for(text)
        if token is None:
            raise exceptions.AuthenticationFailed("The token is not valid, was revoked, or has expired.")
        return token.user, token

    def _directory_user(self, text: str) -> object:
        from sstools.signin import adfs  # the library is only there to be imported where it is configured

        try:
            return adfs.bearer_user(text)
        except adfs.SignInFailed as error:
            raise exceptions.AuthenticationFailed(error.message) from None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="ss-tools"'
