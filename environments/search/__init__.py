"""Finding assets of all environments by their words, and by the address of their page in Superset."""
