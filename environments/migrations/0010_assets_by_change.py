from typing import Any

from django.db import migrations

# The order of the inventory if none is asked for: what changed last. With it a page costs its own rows, not all there
# are. Not of the model: SQLite takes no NULLS LAST in an index, and PostgreSQL uses none without.
CREATE = "CREATE INDEX assets_by_change ON environments_asset (changed_on DESC{nulls}, sort_key, id)"


def make(apps: Any, schema_editor: Any) -> None:
    nulls = " NULLS LAST" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(CREATE.format(nulls=nulls))


def unmake(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute("DROP INDEX assets_by_change")


class Migration(migrations.Migration):
    dependencies = [
        ("environments", "0009_documents_elsewhere"),
    ]

    operations = [
        migrations.RunPython(make, unmake),
    ]
