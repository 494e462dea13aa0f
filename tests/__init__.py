"""The tests: engine and edges on fakes and an injected clock, and the real service on loopback."""
