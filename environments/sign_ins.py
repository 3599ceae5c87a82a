"""Signed in once, and used by all clients of a process: tokens are good for some 15 minutes, and job follows job.

What is shared is the way to sign in with its tokens, in the memory of this process and nowhere else, for as long as
somebody uses it. Whoever comes with another password, account or address gets one of their own; where Superset refuses
a token, it signs in once more for all (PasswordAuth.rejected).
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from .models import Environment
from .superset.auth import Auth, PasswordAuth

#: Seconds without use after which password and tokens are forgotten.
KEPT_SECONDS = 900.0


@dataclass
class _SignedIn:
    where: tuple[Any, ...]
    auth: PasswordAuth
    used: float


_signed_in: dict[Any, _SignedIn] = {}
_lock = threading.Lock()


def shared(environment: Environment, auth: Auth) -> Auth:
    """What this process is signed in with already at this environment, if that is alike; else `auth` from now on.

    Other ways than by password have nothing to share: a given token costs no request, and a session is its cookies.
    """
    if not isinstance(auth, PasswordAuth) or environment.pk is None:
        return auth
    where = (environment.url, environment.ca_certificate, environment.proxy_url)
    now = time.monotonic()
    with _lock:
        for key in [key for key, known in _signed_in.items() if now - known.used > KEPT_SECONDS]:
            del _signed_in[key]
        known = _signed_in.get(environment.uuid)
        if known is None or known.where != where or not known.auth.is_like(auth):
            known = _signed_in[environment.uuid] = _SignedIn(where, auth, now)
        known.used = now
        return known.auth
