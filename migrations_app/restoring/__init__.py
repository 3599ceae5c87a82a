"""Restoring: a migration whose source is a backup, over what is there or as a copy beside it."""
