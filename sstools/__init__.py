"""The shell: settings, jobs, roles, audit, API and page helpers. Nothing in here knows what a dashboard is."""

__version__ = "0.1.0"  # as pyproject.toml has it
