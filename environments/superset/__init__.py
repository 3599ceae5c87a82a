"""Superset's HTTP and Superset's words: the only package that talks to a Superset. Pure: stdlib, httpx, PyYAML."""
