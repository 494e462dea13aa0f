"""Finds the vectors in an answer whose form is not known beforehand, and cuts them out without parsing a number.

::

    [[…],[…]]     {"embeddings": [[…],[…]]}     {"result": {"data": [{"index": 0, "embedding": […]}, …]}}

The place is the path of names to the array: ``()``, ``("embeddings",)``, ``("result", "data")``. A last name may be
that of the member that each element of the array holds its vector in. Pure.
"""

from __future__ import annotations

import re

import msgspec

from batching.errors import UpstreamMisconfigured, UpstreamProtocolError
from formats.slices import BadRowsError, NotVectorsError, split_vectors
from upstream.dialects.words import read

#: The names of the members from the top of the answer to its vectors.
Place = tuple[str, ...]

#: Members that hold vectors, the most telling first.
_NAMES = (
    *("embeddings", "embedding", "vectors", "vector", "dense_vecs", "sentence_embeddings", "data", "predictions"),
    *("outputs", "output", "results", "result", "features", "values"),
)
#: Members of an element that hold its vector, and those that hold its position.
_OF_ELEMENT = ("embedding", "vector", "values", "dense", "embeddings")
_POSITIONS = ("index", "idx")
#: Members that hold its position where they number all elements from 0 on, and something else if not.
_PERHAPS_POSITIONS = ("object_index", "position", "id")
#: Objects within one another that are looked into.
MAX_DEPTH = 3

ONE_TEXT = "it takes one text a call and no list, so nothing can be batched"

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: ``[[``, ``[{`` and ``[1``: rows, elements that hold rows, and the numbers of a lone vector.
_ROWS, _ELEMENTS = re.compile(rb"\s*\[\s*\[").match, re.compile(rb"\s*\[\s*\{").match
_NUMBERS = re.compile(rb"\s*\[\s*(?:-?\d|NaN|-?Infinity)").match
#: A row that is no vector stands before those that are.
_NULL_FIRST = re.compile(rb"\s*\[\s*null\s*[,\]]").match
#: What Python's own writer of JSON makes of numbers that JSON does not have.
_NO_NUMBER = re.compile(rb"(?<=[\[,:\s])-?(?:NaN|Infinity)(?=[\],}\s])")


def split_at(body: bytes, place: Place, count: int) -> tuple[list[bytes], int]:
    """Return the ``count`` vectors that stand at ``place``, each the upstream's own bytes, and their dimension.

    Raises ``BadRowsError`` where some of them are no vectors, ``UpstreamMisconfigured`` where the answer is one vector
    for a list of texts, and ``UpstreamProtocolError`` for anything else.
    """
    array, names = body, list(place)
    while names and not _ELEMENTS(array):
        array = _member(array, names.pop(0), body)
    if _NUMBERS(array):
        raise UpstreamMisconfigured("the upstream takes one text a call", reason=ONE_TEXT)
    try:
        if _ELEMENTS(array):
            array = _joined(array, names, count)
        return split_vectors(array, count)
    except BadRowsError:
        raise
    except NotVectorsError as problem:
        raise UpstreamProtocolError(f"{problem}{_words(body)}") from problem


def find(body: bytes) -> Place:
    """Return where the vectors stand in this answer; raises ``UpstreamProtocolError`` where that cannot be told."""
    if body.lstrip()[:1] == b"[":
        return ()
    places = _places(_members(body), MAX_DEPTH)
    known = sorted((place for place in places if place[-1] in _NAMES), key=lambda place: _NAMES.index(place[-1]))
    if known or len(places) == 1:
        return (known or places)[0]
    if places:
        names = ", ".join(".".join(place) for place in places)
        raise UpstreamProtocolError(f"the upstream's answer may hold its vectors in any of these: {names}")
    raise UpstreamProtocolError(f"the upstream's answer holds no vectors{_words(body)}")


def _places(members: dict[str, bytes], depth: int) -> list[Place]:
    """Return all places that look like vectors, those that are higher up first."""
    here: list[Place] = [(name,) for name, value in members.items() if _looks_like_vectors(name, value)]
    if not here and depth > 1:
        for name, value in members.items():
            if value[:1] == b"{":
                here += [(name, *place) for place in _places(_members(value), depth - 1)]
    return here


def _looks_like_vectors(name: str, value: bytes) -> bool:
    if _ELEMENTS(value):
        try:
            first = _objects.decode(value)[0]
        except _BROKEN:
            return False
        return any(_NUMBERS(bytes(first[name])) for name in _OF_ELEMENT if name in first)
    if _NUMBERS(value) or (_ROWS(value) and _NUMBERS(value[value.index(b"[") + 1 :])):
        return True
    return name in _NAMES and _NULL_FIRST(value) is not None


def _member(value: bytes, name: str, body: bytes) -> bytes:
    found = _members(value).get(name)
    if found is None:
        raise UpstreamProtocolError(f"the upstream's answer has no member {name!r}{_words(body)}")
    return found


def _members(value: bytes) -> dict[str, bytes]:
    """Return the members of a JSON object, each as it is written; NaN and infinities become null."""
    try:
        return {name: bytes(raw) for name, raw in _object.decode(value).items()}
    except _BROKEN as problem:
        try:
            return {name: bytes(raw) for name, raw in _object.decode(_NO_NUMBER.sub(b"null", value)).items()}
        except _BROKEN:
            raise UpstreamProtocolError(f"the upstream's answer is not a JSON object{_words(value)}") from problem


def _joined(array: bytes, names: list[str], count: int) -> bytes:
    """Return ``[[…],[…]]`` of objects that hold a vector each, in the order of their positions if they tell them."""
    try:
        elements = _objects.decode(array)
    except _BROKEN as problem:
        raise UpstreamProtocolError("the upstream's answer holds something else between its vectors") from problem
    first = elements[0]
    name = names[0] if names else next((each for each in _OF_ELEMENT if each in first), "")
    if len(elements) != count or not all(name in each for each in elements):
        missing = f"without {name!r}" if name else "without a vector"
        said = f"{len(elements)} results for {count} inputs" if len(elements) != count else f"a result {missing}"
        raise UpstreamProtocolError(f"the upstream answered {said}")
    vectors = [bytes(each[name]) for each in elements]
    position = next((each for each in _POSITIONS if each in first), None)
    if position is not None:
        placed = _placed(elements, vectors, position)
        if placed is None:
            raise UpstreamProtocolError("the upstream's answer does not number its results from 0 on")
        vectors = placed
    else:
        told = (_placed(elements, vectors, each) for each in _PERHAPS_POSITIONS if each in first)
        vectors = next(filter(None, told), vectors)
    return b"[" + b",".join(vectors) + b"]"


def _placed(elements: list[dict[str, msgspec.Raw]], vectors: list[bytes], name: str) -> list[bytes] | None:
    """Return the vectors in the order of their elements' numbers; None where these are not all from 0 on."""
    placed = {bytes(each.get(name, b"")): vector for each, vector in zip(elements, vectors, strict=True)}
    in_order = [placed.get(b"%d" % at) for at in range(len(vectors))]
    return None if None in in_order else [vector for vector in in_order if vector is not None]


def _words(body: bytes) -> str:
    """Return what the answer says in place of vectors: servers report errors with status 200, too."""
    text, _ = read(body) if body.lstrip()[:1] in {b"{", b"<"} else ("", "")
    return f": {text}" if text else ""
