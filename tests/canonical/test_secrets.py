"""Secrets that people wrote into files."""

from __future__ import annotations

from environments.canonical.datasets import MASK
from environments.canonical.secrets import find_secrets, without_secrets


def test_a_password_of_digits_is_a_password() -> None:
    data = {
        "password": 20241123,
        "extra": {"engine_params": {"connect_args": {"password": 12345678, "port": 5432}}},
        "cache_timeout": 300,
    }
    assert find_secrets("database", data) == [
        ("password",),
        ("extra", "engine_params", "connect_args", "password"),
    ]
    clean = without_secrets("database", data)
    assert clean["extra"]["engine_params"]["connect_args"] == {"password": MASK, "port": 5432}
    assert clean["cache_timeout"] == 300


def test_templates_keys_of_datasets_are_found_whatever_their_type() -> None:
    data = {"template_params": {"api_key": 987654321, "limit": 10, "on": True}}
    assert without_secrets("dataset", data) == {"template_params": {"api_key": MASK, "limit": 10, "on": True}}
