"""What ss-tools itself knows, in a file: to be lost and brought back."""
