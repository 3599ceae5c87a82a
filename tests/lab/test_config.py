"""superset_config.py as we write it, read back by Python as Superset does."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from environments.lab.errors import LabError
from environments.lab.instance import password_hash, render_config


def rendered(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "secret_key": "k",
        "metadata_url": "postgresql://x",
        "feature_flags": {},
        "settings": {},
    }
    namespace: dict[str, Any] = {}
    exec(render_config(**{**values, **changes}), namespace)
    return namespace


def test_what_every_instance_needs_is_there() -> None:
    config = rendered(secret_key='it\'s "secret"\n', metadata_url="postgresql://u:p@h/d")
    assert config["SECRET_KEY"] == 'it\'s "secret"\n'
    assert config["SQLALCHEMY_DATABASE_URI"] == "postgresql://u:p@h/d"
    assert config["TALISMAN_ENABLED"] is False
    assert config["PREVENT_UNSAFE_DB_CONNECTIONS"] is False
    assert config["FAB_ADD_SECURITY_API"] is True
    assert config["WTF_CSRF_ENABLED"] is True
    assert "SQLALCHEMY_EXAMPLES_URI" not in config


def test_flags_and_settings_come_through_and_win() -> None:
    config = rendered(
        feature_flags={"TAGGING_SYSTEM": True},
        settings={"WTF_CSRF_ENABLED": False, "ROW_LIMIT": 7, "NOTHING": None},
        examples_url="sqlite:////x.db",
    )
    assert config["FEATURE_FLAGS"] == {"TAGGING_SYSTEM": True}
    assert config["WTF_CSRF_ENABLED"] is False
    assert config["ROW_LIMIT"] == 7
    assert config["NOTHING"] is None
    assert config["SQLALCHEMY_EXAMPLES_URI"] == "sqlite:////x.db"


@pytest.mark.parametrize("name", ["lower", "A B", "X = 1\nimport os", "", "1A"])
def test_a_name_that_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="no name of a Superset setting"):
        rendered(settings={name: 1})


def test_a_value_that_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(
        LabError, match="JWT_ACCESS_TOKEN_EXPIRES must be made of plain values, not timedelta"
    ):
        rendered(settings={"JWT_ACCESS_TOKEN_EXPIRES": timedelta(seconds=5)})


def test_password_hash_is_werkzeugs_scrypt() -> None:
    method, salt, digest = password_hash("pass'word").split("$")
    _, cost, block, parallel = method.split(":")
    expected = hashlib.scrypt(
        b"pass'word", salt=salt.encode(), n=int(cost), r=int(block), p=int(parallel), maxmem=2**26
    )
    assert method == "scrypt:32768:8:1"
    assert digest == expected.hex()
    assert password_hash("pass'word") != password_hash("pass'word")
