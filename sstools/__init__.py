"""The shell: settings, jobs, roles, audit, API and page helpers. Nothing in here knows what a dashboard is."""
