"""Cuts a JSON array into one raw slice for each of its elements, whatever they are.

The slices are the sender's own bytes, without the spaces around them.
"""

from __future__ import annotations

import msgspec

_array_of_raw = msgspec.json.Decoder(list[msgspec.Raw])


class NotElementsError(ValueError):
    """The JSON is not the array that was expected; the text says why, and quotes nothing of it."""


def split_elements(body: bytes, count: int | None = None) -> list[bytes]:
    """Split a JSON array into the JSON of its elements.

    Raises ``NotElementsError`` if the body is not one JSON array in UTF-8, or has not ``count`` elements where a count
    is given.
    """
    try:
        elements = [bytes(raw) for raw in _array_of_raw.decode(body)]
        if not body.isascii():
            body.decode()  # the strings within are skipped above, whatever bytes they hold
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise NotElementsError("the upstream's answer is not a JSON array") from problem
    if count is not None and len(elements) != count:
        raise NotElementsError(f"the upstream answered {len(elements)} results for {count} inputs")
    return elements


def joined_elements(elements: list[bytes]) -> bytes:
    """Return the JSON array of these elements."""
    return b"[" + b",".join(elements) + b"]"
