"""Comparing any two places: a list first, then one asset in words, as fields and as YAML. Asks no Superset."""
