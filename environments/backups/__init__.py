"""Backups: snapshots that are kept."""
