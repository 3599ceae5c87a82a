"""Secrets in the database: encrypted with keys that are not in it.

`SSTOOLS_FIELD_KEYS` holds Fernet keys; the first one encrypts, all of them decrypt. To change the key put the new one
first, run `manage.py rotate_keys`, then drop the old one.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.db import connection, models

from .errors import SSToolsError

CHECK_TEXT = "ss-tools key check"


class SecretUnreadable(SSToolsError):
    """The stored value was encrypted with a key that is not among ours."""

    code, status = "secret_unreadable", 500
    message = "A stored credential cannot be read with the keys that ss-tools was started with."
    remedy = "Start with the field keys that were in use when it was stored, or enter the credential again."


class Secret(str):
    """A decrypted value. It does not show itself, and refuses to be pickled: that keeps it out of queue messages."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("A secret is not pickled.")


def _box() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])


def encrypt(text: str) -> str:
    return _box().encrypt(text.encode()).decode()


def decrypt(text: str) -> Secret:
    """Raises SecretUnreadable."""
    try:
        return Secret(_box().decrypt(text.encode()).decode())
    except InvalidToken as exc:
        raise SecretUnreadable from exc


if TYPE_CHECKING:
    TextField = models.TextField[
        Any, Any
    ]  # a type only for the checker: Django's fields are not subscriptable
else:
    TextField = models.TextField


class SecretField(TextField):
    """Text that is stored encrypted and read as `Secret`. Empty stays empty. It cannot be searched for."""

    def get_prep_value(self, value: Any) -> Any:
        return value if value in (None, "") else encrypt(str(value))

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return value if value in (None, "") else decrypt(value)

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None

    def value_to_string(self, obj: Any) -> str:
        return ""  # dumpdata and history never hold the plain text


def keys_are_right() -> bool:
    """Whether the field keys are those that secrets were stored with. The first call notes the keys down."""
    model = apps.get_model("roles", "KeyCheck")
    row, _ = model.objects.get_or_create(pk=1, defaults={"value": encrypt(CHECK_TEXT)})
    try:
        return decrypt(row.value) == CHECK_TEXT
    except SecretUnreadable:
        return False


def renew_key_check() -> None:
    """Encrypt the check value with the first key. Raises SecretUnreadable if it is not readable with any."""
    if not keys_are_right():
        raise SecretUnreadable
    apps.get_model("roles", "KeyCheck").objects.filter(pk=1).update(value=encrypt(CHECK_TEXT))


def secret_fields() -> Iterator[tuple[type[models.Model], SecretField]]:
    """Every encrypted column of every installed app."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, SecretField):
                yield model, field


def newest_are_readable() -> bool:
    """Whether the last secret that was stored in each encrypted column can be decrypted; True where none is."""
    quote = connection.ops.quote_name
    for model, field in secret_fields():
        table, column = quote(model._meta.db_table), quote(field.column or "")
        key = quote(model._meta.pk.column or "") if model._meta.pk else "id"
        with connection.cursor() as cursor:
            # Names come from the models.
            cursor.execute(f"SELECT {column} FROM {table} WHERE {column} <> '' ORDER BY {key} DESC LIMIT 1")  # noqa: S608
            row = cursor.fetchone()
        try:
            if row is not None:
                decrypt(row[0])
        except SecretUnreadable:
            return False
    return True


def rotate(model: type[models.Model], field: SecretField) -> int:
    """Encrypt all values of a column with the first key. Returns how many; raises SecretUnreadable at a bad one.

    A value that somebody changes meanwhile is left as that somebody wrote it, which is with the first key already.
    """
    quote = connection.ops.quote_name
    table, column = quote(model._meta.db_table), quote(field.column or "")
    key = quote(model._meta.pk.column or "") if model._meta.pk else "id"
    count = 0
    with connection.cursor() as cursor:
        # Names come from the models, values are parameters.
        cursor.execute(f"SELECT {key}, {column} FROM {table} WHERE {column} <> ''")  # noqa: S608
        for pk, stored in cursor.fetchall():
            try:
                fresh = _box().rotate(stored.encode()).decode()
            except InvalidToken as exc:
                raise SecretUnreadable(f"{model._meta.label} {pk}: {SecretUnreadable.message}") from exc
            cursor.execute(
                f"UPDATE {table} SET {column} = %s WHERE {key} = %s AND {column} = %s",  # noqa: S608
                [fresh, pk, stored],
            )
            count += cursor.rowcount
    return count
