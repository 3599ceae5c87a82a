"""Trying a Superset, also one of a release that nobody here ever saw: `manage.py compat`, docs/versions.md."""
