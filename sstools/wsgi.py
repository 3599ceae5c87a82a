"""Entry point for WSGI servers: `gunicorn sstools.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sstools.settings")
application = get_wsgi_application()
