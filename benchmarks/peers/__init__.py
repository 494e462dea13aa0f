"""The proxy's job done with other servers, each in an environment of its own."""
