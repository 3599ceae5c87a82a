"""Prepares a metadata database from the inside: run as a script by a Superset's own Python, imports nothing of ours.

    superset_side.py ANSWERS      (the number of an open file descriptor)

Reads one JSON command per line from standard input, answers each with one JSON line on ANSWERS (Superset itself
prints on standard output): `{"ok": true, "seconds": 16.1}` or `{"ok": false, "error": "…"}`.

    {"do": "set_up"}                                         `superset db upgrade`, `init` and an admin, in one process
    {"do": "add_connection", "name", "uuid", "uri"}          as its page would, with the permissions that go with it
    {"do": "remove_connection", "uuid"}
    {"do": "load_examples"}                                  with data, where the release brings it

One process for all of it because the start alone takes 8 s.
"""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def _module(name: str) -> Any:
    return importlib.import_module(name)


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w")
    app: Any = None
    for line in sys.stdin:
        began = time.monotonic()
        try:
            if app is None:
                app = _module("superset.app").create_app()
            command = json.loads(line)
            action = ACTIONS[command.pop("do")]
            with app.app_context():
                action(app, **command)
                _module("superset.extensions").db.session.remove()
            answer: dict[str, Any] = {"ok": True, "seconds": round(time.monotonic() - began, 1)}
        except Exception as error:
            traceback.print_exc()
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def set_up(app: Any) -> None:
    migrate = _module("flask_migrate")
    superset = _module("superset")
    extensions = _module("superset.extensions")
    folder = os.path.join(os.path.dirname(superset.__file__), "migrations")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    migrate.upgrade(directory=folder)
    # What `superset init` does.
    security = extensions.security_manager
    extensions.appbuilder.add_permissions(update_perms=True)
    security.sync_role_definitions()
    # Its name and password are replaced when an instance is made from this database.
    security.add_user(
        "admin",
        "Ada",
        "Admin",
        "admin@example.com",
        security.find_role("Admin"),
        password=os.urandom(16).hex(),
    )
    extensions.db.session.commit()


def add_connection(app: Any, name: str, uuid: str, uri: str) -> None:
    models = _module("superset.models.core")
    extensions = _module("superset.extensions")
    security = extensions.security_manager
    database = models.Database(database_name=name, uuid=uuid, expose_in_sqllab=True)
    database.set_sqlalchemy_uri(uri)
    extensions.db.session.add(database)
    extensions.db.session.flush()
    security.add_permission_view_menu("database_access", database.perm)
    extensions.db.session.commit()


def remove_connection(app: Any, uuid: str) -> None:
    models = _module("superset.models.core")
    session = _module("superset.extensions").db.session
    session.delete(session.query(models.Database).filter_by(uuid=uuid).one())
    session.commit()


def load_examples(app: Any) -> None:
    pandas = _module("pandas")
    original = pandas.DataFrame.to_sql

    def to_sql(self: Any, *args: Any, **options: Any) -> Any:
        # The loaders ask for many small multi-row INSERTs; one executemany per table is 30 times as fast.
        options.pop("chunksize", None)
        options.pop("method", None)
        return original(self, *args, **options)

    pandas.DataFrame.to_sql = to_sql
    session = _module("superset.extensions").db.session
    loading = _module("superset.examples.data_loading")
    try:
        if hasattr(loading, "load_long_lat_data") and not _brings_its_data():
            _load_without_downloads(loading, session)
        else:
            _module("superset.cli.examples").load_examples_run()
        session.commit()
    finally:
        pandas.DataFrame.to_sql = original


def _brings_its_data() -> bool:
    """Whether this release has the example data in its package (6.1.0) or would download it (before)."""
    superset = _module("superset")
    examples = os.path.join(os.path.dirname(superset.__file__), "examples")
    return any(name.endswith(".parquet") for _, _, files in os.walk(examples) for name in files)


def _load_without_downloads(loading: Any, session: Any) -> None:
    """The examples of a release that downloads its data, over a warehouse that has tables of the same names.

    Dashboards and charts come as the release has them; a table that the warehouse lacks stays missing, and a
    chart on it fails, which is a state that real instances have too.
    """
    datasets = _module("superset.commands.dataset.importers.v1.utils")
    datasets.load_data = lambda *args, **options: None
    request = _module("urllib.request")

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError("the lab downloads no example data")

    request.urlopen = refuse
    loading.load_css_templates()
    loaders = (
        "load_world_bank_health_n_pop load_birth_names load_long_lat_data load_country_map_data "
        "load_sf_population_polygons load_flights load_bart_lines load_misc_dashboard load_deck_dash"
    )
    for name in loaders.split():
        try:
            getattr(loading, name)()
            session.commit()
        except Exception:
            session.rollback()
            logging.getLogger(__name__).warning("%s left out", name, exc_info=True)
    loading.load_examples_from_configs(False, False)


ACTIONS: dict[str, Callable[..., None]] = {
    "set_up": set_up,
    "add_connection": add_connection,
    "remove_connection": remove_connection,
    "load_examples": load_examples,
}

if __name__ == "__main__":
    main()
