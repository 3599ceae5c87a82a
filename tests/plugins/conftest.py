from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import packages


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """SSTOOLS_PLUGINS_DIR, empty."""
    target = tmp_path / "plugins"
    target.mkdir()
    settings.PLUGINS_DIR = str(target)
    return target


@pytest.fixture
def installed(folder: Path, tmp_path: Path, db: None) -> Callable[..., Any]:
    """installed(files): built, installed and looked at; returns the row of the plugin."""
    from sstools.plugins import discovery, services

    def install(files: dict[str, str]) -> Any:
        wheel = packages.build(files, tmp_path)
        packages.install(wheel, folder)
        name = wheel.name.split("-")[0].replace("_", "-")
        return services.look_at(discovery.find_all()[name])

    return install
