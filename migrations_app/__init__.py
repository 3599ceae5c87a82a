"""Moving assets between two places."""
