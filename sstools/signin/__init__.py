"""Signing in: ADFS and Entra ID through django-auth-adfs, local accounts beside them, and how long it lasts."""
