"""Other servers that do the proxy's work, each in a virtual environment of its own."""
