"""One asset over all environments: what it is where, what stands on it, what happened to it, and who is who."""
