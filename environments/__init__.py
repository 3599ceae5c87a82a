"""One Superset: reaching it, looking into it, keeping copies of it."""
