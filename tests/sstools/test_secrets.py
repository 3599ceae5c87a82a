"""Secrets in the database: not readable without the key, and not shown by accident."""

import json
import pickle

import pytest
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection

from sstools import secrets
from sstools.audit.models import AuditEvent
from sstools.keys import new_field_key
from sstools.secrets import Secret, SecretUnreadable
from tests.trial.models import Safe

pytestmark = pytest.mark.django_db


def stored(row):
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM trial_safe WHERE id = %s", [row.pk])
        return cursor.fetchone()[0]


def test_what_is_stored_is_not_what_was_given(settings):
    row = Safe.objects.create(secret="hunter2")
    assert "hunter2" not in stored(row)
    assert Safe.objects.get().secret == "hunter2"


def test_empty_stays_empty():
    row = Safe.objects.create()
    assert stored(row) == ""
    assert Safe.objects.get().secret == ""


def test_a_secret_does_not_show_itself_and_is_not_pickled():
    Safe.objects.create(secret="hunter2")
    secret = Safe.objects.get().secret
    assert "hunter2" not in repr(secret)
    assert "hunter2" not in repr({"password": secret})
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)


def test_dumps_hold_no_plain_text():
    Safe.objects.create(secret="hunter2")
    assert "hunter2" not in serializers.serialize("json", Safe.objects.all())


def test_one_cannot_search_for_a_secret():
    for lookup in ("exact", "contains", "startswith"):
        with pytest.raises(Exception, match=r"(?i)unsupported lookup|not support|invalid"):
            list(Safe.objects.filter(**{f"secret__{lookup}": "h"}))


def test_a_wrong_key_is_an_error_and_not_rubbish(settings):
    Safe.objects.create(secret="hunter2")
    settings.FIELD_KEYS = [new_field_key()]
    with pytest.raises(SecretUnreadable) as unreadable:
        Safe.objects.get()
    assert "hunter2" not in str(unreadable.value)


def test_a_new_key_first_then_rotate_then_drop_the_old_one(settings, capsys):
    old, new = settings.FIELD_KEYS[0], new_field_key()
    rows = [Safe.objects.create(secret=f"s{n}") for n in range(3)]
    Safe.objects.create()
    assert secrets.keys_are_right()
    settings.FIELD_KEYS = [new, old]
    assert [row.secret for row in Safe.objects.exclude(secret__isnull=True).order_by("pk")][:3] == [
        "s0",
        "s1",
        "s2",
    ]
    call_command("rotate_keys")
    assert "3 stored secrets" in capsys.readouterr().out
    settings.FIELD_KEYS = [new]
    assert [Safe.objects.get(pk=row.pk).secret for row in rows] == ["s0", "s1", "s2"]
    assert secrets.keys_are_right()
    event = AuditEvent.objects.get()
    assert event.action == "keys:rotate"
    assert event.data["trial.Safe.secret"] != ""
    assert "s0" not in json.dumps(event.data)


def test_rotating_with_keys_that_do_not_fit_changes_nothing_and_says_which_row(settings):
    row = Safe.objects.create(secret="hunter2")
    before = stored(row)
    settings.FIELD_KEYS = [new_field_key()]
    with pytest.raises(CommandError, match=f"trial.Safe {row.pk}"):
        call_command("rotate_keys")
    assert stored(row) == before


def test_wrong_keys_are_noticed_without_reading_a_secret(settings):
    assert secrets.keys_are_right()
    settings.FIELD_KEYS = [new_field_key()]
    assert not secrets.keys_are_right()


def test_every_encrypted_column_is_found():
    assert (Safe, Safe._meta.get_field("secret")) in list(secrets.secret_fields())


def test_secret_is_a_text():
    assert Secret("a") + "b" == "ab"
    assert isinstance(Secret("a"), str)
