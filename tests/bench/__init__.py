"""ss-tools beside the raw API and preset-cli, on the same Supersets in the same run: `make bench`."""
