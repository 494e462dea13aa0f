"""Leaves used on both sides of the engine: bytes in, bytes out, no I/O."""
