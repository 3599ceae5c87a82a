from typing import Any

import django.db.models.deletion
from django.db import migrations, models

COLUMNS = ("titles", "names", "texts")
POSTGRES = [
    statement.format(column=column)
    for column in COLUMNS
    for statement in (
        "ALTER TABLE search_entry ADD COLUMN {column} tsvector NOT NULL DEFAULT ''",
        # Not packed: where words must stand side by side, each row that has them is looked at.
        "ALTER TABLE search_entry ALTER COLUMN {column} SET STORAGE EXTERNAL",
        "CREATE INDEX search_entry_{column} ON search_entry USING gin ({column})",
    )
]
SQLITE = [
    "CREATE VIRTUAL TABLE search_words USING fts5"
    "(titles, names, texts, columnsize = 0, prefix = '2 3', tokenize = 'unicode61 remove_diacritics 0')",
    "CREATE TRIGGER search_entry_gone AFTER DELETE ON search_entry"
    " BEGIN DELETE FROM search_words WHERE rowid = old.asset_id; END",
]
SQLITE_BACK = ["DROP TRIGGER search_entry_gone", "DROP TABLE search_words"]


def make(apps: Any, schema_editor: Any) -> None:
    vendor = schema_editor.connection.vendor
    for statement in {"postgresql": POSTGRES, "sqlite": SQLITE}[vendor]:
        schema_editor.execute(statement)


def unmake(apps: Any, schema_editor: Any) -> None:
    for statement in SQLITE_BACK if schema_editor.connection.vendor == "sqlite" else ():
        schema_editor.execute(statement)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('environments', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('asset', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='environments.asset')),
                ('kind', models.CharField(max_length=20)),
                ('uuid', models.CharField(max_length=36)),
                ('title_key', models.CharField(db_index=True, max_length=200)),
                ('document', models.CharField(blank=True, max_length=64)),
                ('version', models.PositiveSmallIntegerField()),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='environments.environment')),
            ],
        ),
        migrations.RunPython(make, unmake),
    ]
