"""Telling people and programs what happened: mail and webhooks, each by what one wants to know."""
