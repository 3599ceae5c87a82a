"""Git, a place that assets are written to and brought from."""
