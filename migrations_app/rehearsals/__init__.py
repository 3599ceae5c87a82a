"""Rehearsals: a backup is restored where everything may be replaced, looked at, and taken away again."""
