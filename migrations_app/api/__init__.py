"""REST of migrations: shapes, views and their addresses, below /api/v1/."""

from .addresses import urlpatterns

__all__ = ["urlpatterns"]
