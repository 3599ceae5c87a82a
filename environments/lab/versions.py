"""The Superset releases we run, and what has to be installed beside each.

The released packages leave their dependencies open, and later releases of those break them (for example
flask-caching 2.4: `unexpected keyword argument 'ignore_delete_many_errors'`; setuptools 81: `No module named
'pkg_resources'`). `pins` are the ones known to matter, tried on Python 3.11; `constraints/superset-<version>.txt`
holds every other dependency to the version it was tried with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from environments.lab.errors import LabError

PYTHON = (3, 11)  # the one that all four releases run on with these pins

# Beside every version: psycopg2 for the metadata database and PostgreSQL warehouses, gunicorn to serve,
# pillow because 6.x imports it for thumbnails without asking for it.
_ALWAYS = ("psycopg2-binary", "gunicorn", "pillow")

_PINS_6 = (
    "flask-caching==2.3.1",
    "marshmallow==3.26.1",
    "marshmallow-sqlalchemy==1.4.0",
    "flask-limiter==3.12",
    "werkzeug==3.1.3",
    "click==8.2.1",
    "cachelib==0.13.0",
    "rich==13.9.4",
    "setuptools<81",
    "cachetools==6.2.1",  # this and google-auth only for loading the examples
    "google-auth==2.43.0",
)
_PINS_4_5 = (
    "flask-caching==2.3.1",
    "marshmallow<4",
    "marshmallow-sqlalchemy<1.4.1",
    "flask-limiter==3.12",
    "werkzeug==3.1.3",
    "cachelib==0.13.0",
    "rich",
    "setuptools<81",
    "cachetools",
)


@dataclass(frozen=True)
class SupersetVersion:
    """One release and the packages that go with it."""

    version: str
    pins: tuple[str, ...]

    @property
    def requirements(self) -> tuple[str, ...]:
        return (f"apache-superset=={self.version}", *self.pins, *_ALWAYS)

    @property
    def constraints(self) -> Path | None:
        """File with the tried version of every dependency, None where there is none for this release."""
        path = Path(__file__).parent / "constraints" / f"superset-{self.version}.txt"
        return path if path.is_file() else None

    @property
    def key(self) -> str:
        """Name of the installation in the cache: changes whenever something else would be installed."""
        digest = hashlib.sha256("\n".join(self.requirements).encode())
        if self.constraints:
            digest.update(self.constraints.read_bytes())
        return f"superset-{self.version}-{digest.hexdigest()[:8]}"

    @property
    def short(self) -> str:
        """The version for names of databases and folders: "610"."""
        return self.version.replace(".", "")


SUPERSETS = {
    version.version: version
    for version in (
        SupersetVersion("4.1.4", _PINS_4_5),
        SupersetVersion("5.0.0", _PINS_4_5),
        SupersetVersion("6.0.0", _PINS_6),
        SupersetVersion("6.1.0", _PINS_6),
    )
}
CURRENT = "6.1.0"  # what the demo shows and most live tests run on
OLDEST = "4.1.4"


def superset_version(version: str) -> SupersetVersion:
    """The release of that name; raises LabError with the names there are."""
    try:
        return SUPERSETS[version]
    except KeyError:
        raise LabError(
            f"No Superset {version} is known here.", f"There are {', '.join(SUPERSETS)}."
        ) from None
