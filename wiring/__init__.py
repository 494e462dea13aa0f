"""Builds every object from the settings and ties it to gunicorn. The only folder that knows all others."""
