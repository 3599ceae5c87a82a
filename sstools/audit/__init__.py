"""Append-only history of who did what."""
