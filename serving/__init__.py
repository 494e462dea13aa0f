"""gunicorn's worker: accepts connections, reads requests, writes responses. Knows no Flask."""
