"""Vectors that tell whose they are, cheap enough for a million of them on both sides."""

from __future__ import annotations

import hashlib
import struct

_words = struct.Struct(">4I").unpack


def vector_for(text: str) -> bytes:
    """Return the JSON of the vector that this text gets, and no other."""
    return b"[%d,%d,%d,%d]" % _words(hashlib.blake2b(text.encode(), digest_size=16).digest())


def vectors_for(texts: list[str]) -> bytes:
    return b"[" + b",".join([vector_for(text) for text in texts]) + b"]"
