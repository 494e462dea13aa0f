"""Cuts a JSON array of vectors into one raw slice for each vector, without parsing a single number.

The slices are the sender's own bytes: a client gets every digit as the upstream wrote it.
"""

from __future__ import annotations

import msgspec

_array_of_raw = msgspec.json.Decoder(list[msgspec.Raw])
_OPENING = ord("[")
#: In valid JSON only strings, objects, null, true and false have these: each of them has at least one.
_OF_OTHERS = (b'"', b"{", b"u", b"l")


class NotVectorsError(ValueError):
    """The JSON is not the array of vectors that was expected; the text says why."""


def split_vectors(body: bytes, count: int) -> tuple[list[bytes], int]:
    """Split ``[[…],[…]]`` into the JSON of its ``count`` vectors; return them and their dimension.

    Raises ``NotVectorsError`` if the body is not exactly that: valid JSON, ``count`` arrays of
    numbers (no null, string, NaN or nested array), all of one length, none empty.
    """
    try:
        vectors = [bytes(raw) for raw in _array_of_raw.decode(body)]
    except (msgspec.DecodeError, RecursionError) as problem:
        raise NotVectorsError(f"the upstream's answer is not a JSON array: {problem}") from problem
    if len(vectors) != count:
        raise NotVectorsError(f"the upstream answered {len(vectors)} vectors for {count} inputs")
    # The syntax is known to be valid: what is no string, no word and holds no array within is an array of numbers. A
    # search for one byte takes a fiftieth of the time of any look at each byte, such as counting commas.
    holds_others = any(sign in body for sign in _OF_OTHERS)
    dimension = vectors[0].count(b",") + 1
    for vector in vectors:
        if holds_others or vector[0] != _OPENING or vector.find(b"[", 1) >= 0 or (dimension == 1 and _is_empty(vector)):
            raise NotVectorsError("the upstream's answer holds something that is not a vector of numbers")
        if vector.count(b",") + 1 != dimension:
            raise NotVectorsError("the upstream's answer mixes vectors of different dimensions")
    return vectors, dimension


def _is_empty(vector: bytes) -> bool:
    return not vector.strip(b"[] \t\r\n")
