"""The REST API's common parts: errors, pages of results, authentication, schema."""
