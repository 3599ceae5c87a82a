"""What is known of each asset's words. The words themselves are where the database searches them: see engines.py."""

from django.db import models

from environments.models import UUID_LENGTH, Asset, Environment

from .words import MAX_WORD


class Entry(models.Model):
    """An asset that can be found, and what it was indexed from.

    PostgreSQL has its words in three more columns, `titles`, `names` and `texts` (tsvector, each with what is in the
    one before it), which Django does not know; SQLite has them in the table `search_words` (FTS5, rowid = asset_id).
    """

    asset = models.OneToOneField(Asset, primary_key=True, on_delete=models.CASCADE, related_name="+")
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=20)
    uuid = models.CharField(max_length=UUID_LENGTH)
    title_key = models.CharField(max_length=200, db_index=True)  # Asset.sort_key
    document = models.CharField(max_length=64, blank=True)  # fingerprint of what was indexed, "" for none
    version = models.PositiveSmallIntegerField()  # of the rules by which it was: contents.VERSION

    def __str__(self) -> str:
        return f"{self.kind} {self.title_key}"


class Word(models.Model):
    """A word that some asset has, or once had: `manage.py reindex --all` forgets those that none has any more."""

    word = models.CharField(primary_key=True, max_length=MAX_WORD)

    def __str__(self) -> str:
        return self.word
