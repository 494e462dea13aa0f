"""Cuts a JSON array of vectors into one raw slice for each vector, without parsing a single number.

The slices are the sender's own bytes: a client gets every digit as the upstream wrote it.
"""

from __future__ import annotations

import re

import msgspec

_array_of_raw = msgspec.json.Decoder(list[msgspec.Raw])
_OPENING = ord("[")
#: In valid JSON only strings, objects, null, true and false have these: each of them has at least one.
_OF_OTHERS = (b'"', b"{", b"u", b"l")
#: Words for what is no number. They are no JSON, and servers in Python and C++ write them all the same.
#: Without the sign: a pattern that begins with one of four characters is searched for at 3 ns a byte, others at 30.
_NO_NUMBER = re.compile(
    rb"[nNiI](?<![\w.].)(?:(?<=[nN])[aA][nN](?:\(\w{0,20}\))?|(?<=[iI])[nN][fF](?:[iI][nN][iI][tT][yY])?)(?![\w.])"
)
_NO_NUMBER_HINTS = (b"nan", b"inf")

NULL = "null"
NO_NUMBER_WITHIN = "a null or NaN among its numbers"
NO_NUMBERS = "not an array of numbers"
EMPTY = "empty"


class NotVectorsError(ValueError):
    """The JSON is not the array of vectors that was expected; the text says why."""


class BadRowsError(NotVectorsError):
    """There is a row for each vector that was expected, and some are no vectors, or not of one length.

    ``rows``: the slices in order, None where a row is no vector. ``why``: the reason for each of those positions.
    ``dimensions``: the length of each row that is a vector, by its position. Texts quote nothing of the reply.
    """

    def __init__(self, rows: list[bytes | None], why: dict[int, str], dimensions: dict[int, int]) -> None:
        super().__init__(_summary(why))
        self.rows = rows
        self.why = why
        self.dimensions = dimensions


def split_vectors(body: bytes, count: int) -> tuple[list[bytes], int]:
    """Split ``[[…],[…]]`` into the JSON of its ``count`` vectors; return them and their dimension.

    Raises ``BadRowsError`` if the body is an array of ``count`` rows and not each is an array of numbers (no null,
    string, NaN or nested array), none empty, all of one length. Raises ``NotVectorsError`` if it is anything else:
    no JSON array, another count, several rows of which each is something that no vector looks like.
    """
    try:
        vectors = [bytes(raw) for raw in _array_of_raw.decode(body)]
    except (msgspec.DecodeError, RecursionError) as problem:
        raise _apart(_without_no_numbers(body, problem), count) from problem
    # The syntax is known to be valid: what is no string, no word and holds no array within is an array of numbers. A
    # search for one byte takes a fiftieth of the time of any look at each byte, such as counting commas.
    if len(vectors) != count or any(sign in body for sign in _OF_OTHERS):
        raise _apart(vectors, count)
    dimension = vectors[0].count(b",") + 1
    for vector in vectors:
        if vector[0] != _OPENING or vector.find(b"[", 1) >= 0 or (dimension == 1 and _is_empty(vector)):
            raise _apart(vectors, count)
        if vector.count(b",") + 1 != dimension:
            raise _apart(vectors, count)
    return vectors, dimension


def _apart(rows: list[bytes], count: int) -> NotVectorsError:
    """Tell the rows that are vectors from those that are not. Each row is a JSON value."""
    if len(rows) != count:
        return NotVectorsError(f"the upstream answered {len(rows)} vectors for {count} inputs")
    why = {at: reason for at, row in enumerate(rows) if (reason := _why_no_vector(row))}
    if count > 1 and len(why) == count and set(why.values()) == {NO_NUMBERS}:
        # No input does this: the server speaks otherwise.
        return NotVectorsError("the upstream's answer holds something that is not a vector of numbers")
    dimensions = {at: row.count(b",") + 1 for at, row in enumerate(rows) if at not in why}
    return BadRowsError([None if at in why else row for at, row in enumerate(rows)], why, dimensions)


def _why_no_vector(row: bytes) -> str:
    """Return the reason why a JSON value is no vector; empty if it is one."""
    if row == b"null":
        return NULL
    if row[0] != _OPENING or row.find(b"[", 1) >= 0 or any(sign in row for sign in (b'"', b"{", b"t", b"f")):
        return NO_NUMBERS
    if b"n" in row:
        return NO_NUMBER_WITHIN
    return EMPTY if _is_empty(row) else ""


def _is_empty(vector: bytes) -> bool:
    return not vector.strip(b"[] \t\r\n")


def _without_no_numbers(body: bytes, problem: Exception) -> list[bytes]:
    """Return the rows of a body that may be JSON but for NaN and infinities, which become null.

    A row without one of these keeps its bytes. Raises ``NotVectorsError`` if the body is no array all the same.
    """
    lowered = body.lower()
    if any(hint in lowered for hint in _NO_NUMBER_HINTS):
        try:
            mended = _NO_NUMBER.sub(b"null", body).replace(b"-null", b"null").replace(b"+null", b"null")
            return [bytes(raw) for raw in _array_of_raw.decode(mended)]
        except (msgspec.DecodeError, RecursionError) as still:
            problem = still
    raise NotVectorsError(f"the upstream's answer is not a JSON array: {problem}") from problem


def _summary(why: dict[int, str]) -> str:
    if not why:
        return "the upstream's answer mixes vectors of different dimensions"
    reasons = ", ".join(sorted(set(why.values())))
    return f"the upstream's answer holds something that is not a vector of numbers: {reasons}"
