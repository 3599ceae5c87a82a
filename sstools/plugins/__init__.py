"""Plugins: what others add to ss-tools, by the same door as what comes with it."""
