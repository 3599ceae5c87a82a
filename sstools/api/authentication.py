"""`Authorization: Bearer <token>` with a user's own token."""

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from sstools.roles import services
from sstools.roles.models import ApiToken


class BearerAuthentication(BaseAuthentication):
    """Signs a request in by an ApiToken. `request.auth` is then that token."""

    def authenticate(self, request: Request) -> tuple[object, ApiToken] | None:
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"bearer":
            return None
        if len(header) != 2:
            raise exceptions.AuthenticationFailed("The Authorization header must be: Bearer <token>.")
        try:
            text = header[1].decode("ascii")
        except UnicodeDecodeError:
            raise exceptions.AuthenticationFailed("The token is not valid.") from None
        token = services.token_for(text)
        if token is None:
            raise exceptions.AuthenticationFailed("The token is not valid, was revoked, or has expired.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="ss-tools"'
