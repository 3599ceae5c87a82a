from typing import Any

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from .backends import EVERYBODY


class LoginForm(AuthenticationForm):
    """Django's, with attributes that password managers and phones understand."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs |= {"autocapitalize": "none", "spellcheck": "false"}

    def get_invalid_login_error(self) -> ValidationError:
        if settings.LOCAL_SIGN_IN != EVERYBODY:
            return ValidationError(
                "That did not work. Passwords are for emergency accounts only here; everybody else signs in with "
                "the company account."
            )
        return super().get_invalid_login_error()
