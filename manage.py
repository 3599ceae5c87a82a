#!/usr/bin/env python
"""ss-tools' commands: `python manage.py help` lists them."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sstools.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except Exception as exc:
        from sstools.outages import outage

        if (error := outage(exc)) is None:
            raise
        sys.exit(f"{error} ({' '.join(str(exc).split())})")


if __name__ == "__main__":
    main()
