"""What each API's clients say and want to hear. Pure: no Flask, no gunicorn, no threads."""
