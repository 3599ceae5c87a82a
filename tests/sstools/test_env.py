"""Settings from the environment: what stops the start, and how it says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sstools import env
from sstools.databases import from_url
from sstools.env import SettingError
from sstools.keys import checked_field_keys, kept_key, new_field_key

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def variable(monkeypatch):
    """variable("text") sets SSTOOLS_X; without an argument it is not set."""

    def set_it(value=None, name="SSTOOLS_X"):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    set_it()
    return set_it


def test_text_is_stripped_and_empty_counts_as_not_set(variable):
    variable("  a b ")
    assert env.env_str("SSTOOLS_X") == "a b"
    variable("   ")
    assert env.env_str("SSTOOLS_X", "default") == "default"


@pytest.mark.parametrize("reader", [env.env_str, env.env_bool, env.env_int, env.env_list, env.env_secret])
def test_a_required_variable_that_is_missing_stops_with_its_name(variable, reader):
    with pytest.raises(SettingError, match=r"^SSTOOLS_X must be set\.$"):
        reader("SSTOOLS_X")


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("Yes", True), ("on", True), ("FALSE", False), ("0", False)]
)
def test_booleans(variable, text, value):
    variable(text)
    assert env.env_bool("SSTOOLS_X") is value


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (lambda: env.env_bool("SSTOOLS_X", False), "maybe"),
        (lambda: env.env_int("SSTOOLS_X", 1), "ten"),
        (lambda: env.env_int("SSTOOLS_X", 1), "1.5"),
        (lambda: env.env_int("SSTOOLS_X", 1, at_least=1), "0"),
        (lambda: env.env_str("SSTOOLS_X", "a", choices=("a", "b")), "c3po"),
    ],
)
def test_a_malformed_value_stops_with_the_name_and_without_the_value(variable, reader, text):
    variable(text)
    with pytest.raises(SettingError) as stopped:
        reader()
    assert str(stopped.value).startswith("SSTOOLS_X must be ")
    assert "\n" not in str(stopped.value)
    assert text == "0" or text not in str(stopped.value)


def test_lists_are_split_at_commas_and_the_default_is_a_copy(variable):
    variable("a, b ,,c")
    assert env.env_list("SSTOOLS_X") == ["a", "b", "c"]
    variable()
    default = ["x"]
    assert env.env_list("SSTOOLS_X", default) == default
    assert env.env_list("SSTOOLS_X", default) is not default


def test_a_secret_comes_from_the_variable_or_from_a_file_but_not_from_both(variable, tmp_path):
    file = tmp_path / "secret"
    file.write_text("from file\n")
    variable(str(file), "SSTOOLS_X_FILE")
    assert env.env_secret("SSTOOLS_X") == "from file"
    variable("from variable")
    with pytest.raises(SettingError, match="SSTOOLS_X or SSTOOLS_X_FILE, not both"):
        env.env_secret("SSTOOLS_X")
    variable(None, "SSTOOLS_X_FILE")
    assert env.env_secret("SSTOOLS_X") == "from variable"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_a_secrets_file_that_cannot_be_used_stops_with_the_variables_name(variable, tmp_path, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    variable(str(file), "SSTOOLS_X_FILE")
    with pytest.raises(SettingError, match=r"^SSTOOLS_X_FILE "):
        env.env_secret("SSTOOLS_X")


def test_addresses_of_databases():
    found = from_url("postgresql://ann:p%40ss@db.example.com:5433/tools?sslmode=require")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "ann",
        "p@ss",
        "db.example.com",
        "5433",
        "tools",
    )
    assert found["OPTIONS"]["sslmode"] == "require"
    assert from_url("postgresql://ann@/tools?host=/run/postgresql")["HOST"] == "/run/postgresql"
    assert from_url("sqlite:////var/lib/tools.sqlite3")["NAME"] == "/var/lib/tools.sqlite3"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/db",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@h:port/db",
        "hunter2",
        "sqlite://",
    ],
)
def test_a_malformed_address_is_named_and_not_repeated(url):
    with pytest.raises(SettingError) as stopped:
        from_url(url)
    assert str(stopped.value).startswith("SSTOOLS_DATABASE_URL must look like")
    assert "hunter2" not in str(stopped.value)


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "new" / "key"
    first = kept_key(path, new_field_key)
    assert kept_key(path, new_field_key) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["key"]


def test_field_keys_are_checked_and_named():
    good = new_field_key()
    assert checked_field_keys(f"{good}, {good}", "SSTOOLS_FIELD_KEYS") == [good, good]
    with pytest.raises(SettingError, match="SSTOOLS_FIELD_KEYS: key 2 is not a Fernet key"):
        checked_field_keys(f"{good},short", "SSTOOLS_FIELD_KEYS")


def start(tmp_path, **variables):
    """`manage.py check` as an operator runs it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SSTOOLS_")}
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={
            **clean,
            "DJANGO_SETTINGS_MODULE": "sstools.settings",
            "SSTOOLS_DATA_DIR": str(tmp_path),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSTOOLS_DEBUG", "perhaps"),
        ("SSTOOLS_JOB_WORKERS", "0"),
        ("SSTOOLS_DATABASE_URL", "oracle://x"),
        ("SSTOOLS_FIELD_KEYS", "abc"),
        ("SSTOOLS_LOG_FORMAT", "xml"),
        ("SSTOOLS_SECRET_KEY_FILE", "/nowhere/at/all"),
    ],
)
def test_the_start_stops_with_one_line_and_no_traceback(tmp_path, name, value):
    out = start(tmp_path, **{name: value})
    assert out.returncode != 0
    assert out.stderr.startswith(name)
    assert len(out.stderr.strip().splitlines()) == 1


def test_it_starts_with_no_settings_at_all_and_keeps_its_keys_to_itself(tmp_path):
    out = start(tmp_path / "data")
    assert out.returncode == 0, out.stderr
    for name in ("secret_key", "field_keys"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600
