"""`python app.py check`: what the settings mean, what the upstreams say, and whether batching pays there."""
