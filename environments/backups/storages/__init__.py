"""Where the documents of backups are kept beside the database: a folder, or a bucket of an S3-compatible service."""
