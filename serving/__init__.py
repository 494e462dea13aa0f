"""gunicorn's worker: accepts connections, reads requests, writes answers. Knows no Flask."""
