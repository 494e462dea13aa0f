"""Takes the vectors out of an OpenAI answer: JSON numbers or base64 of float32, in the order of the inputs."""

from __future__ import annotations

import binascii
import re
import struct
from math import isfinite

import msgspec

from formats.slices import EMPTY, NO_NUMBER_WITHIN, NO_NUMBERS, BadRowsError, NotVectorsError, split_vectors
from upstream.dialects.words import decoded

_OPENING, _QUOTE = ord("["), ord('"')
#: In valid JSON only strings, objects, null, true and false have these: each of them has at least one.
_OF_OTHERS = (b'"', b"{", b"u", b"l")
#: Words for what is no number. They are no JSON, and servers in Python and C++ write them all the same. Between these
#: marks stands a value and seldom a part of a text, where nothing is read.
_NO_NUMBER = re.compile(rb"(?<=[\[,:\s])[-+]?(?:nan(?:\(\w{0,20}\))?|inf(?:inity)?)(?=[\],}\s])", re.IGNORECASE)
#: Tokens of one call that are believed.
_MOST_TOKENS = 2**53
_NULL = msgspec.Raw(b"null")
#: What stands in ``error`` where there is none.
_NO_ERROR = frozenset({b"null", b"false", b"0", b'""', b"{}", b"[]"})


class _Row(msgspec.Struct):
    #: JSON numbers, or a text of base64.
    embedding: msgspec.Raw
    index: int | None = None


class _Body(msgspec.Struct):
    data: list[_Row] | None = None
    #: Read by itself: nonsense in it costs no vector.
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class Embeddings(msgspec.Struct, frozen=True):
    """What one answer holds."""

    #: The JSON of each vector in the order of the inputs: an array of numbers, or a text of base64.
    vectors: list[bytes]
    #: Numbers in each.
    dimension: int
    #: Tokens of all inputs as the server counts them; None where it does not.
    tokens: int | None


class NoDataError(NotVectorsError):
    """The body is JSON and holds no vectors: an error of its own, or an empty list."""


_read = msgspec.json.Decoder(_Body).decode
_read_list = msgspec.json.Decoder(list[_Row]).decode
_read_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_text = msgspec.json.Decoder(str).decode


def embeddings(body: bytes, count: int) -> Embeddings:
    """Read the body of a 200 that answers ``count`` inputs.

    Raises ``BadRowsError`` where there is a row for each input and some are no vectors or not all of one length;
    ``NoDataError`` where there is no row at all; ``NotVectorsError`` for another number of rows, for indices that are
    not those of the inputs, each once, and for what is no such body.
    """
    said = _decoded(body)
    if not said.data or bytes(said.error) not in _NO_ERROR:
        raise NoDataError("the upstream answered 200 without vectors")
    rows = _in_order(said.data, count)
    dimension = _plain_dimension(rows[0])
    if dimension and all(_plain_dimension(row) == dimension for row in rows[1:]):
        return Embeddings(rows, dimension, _tokens(said.usage))
    rows, dimension = _apart(rows)
    return Embeddings(rows, dimension, _tokens(said.usage))


def _decoded(body: bytes) -> _Body:
    # llama-server's /embeddings, which is older than OpenAI's route, answers the list alone.
    is_list = body[:64].lstrip()[:1] == b"["
    try:
        return _Body(_read_list(body)) if is_list else _read(body)
    except msgspec.ValidationError as problem:
        raise NotVectorsError(f"the upstream's answer is not what /embeddings gives: {problem}") from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        mended, found = _NO_NUMBER.subn(b"null", body)
        if found:
            return _decoded(mended)
        raise NotVectorsError(f"the upstream's answer is not JSON: {problem}") from problem


def _in_order(data: list[_Row], count: int) -> list[bytes]:
    """Return the rows in the order of the inputs: by their indices, or as they stand where they have none."""
    if len(data) != count:
        raise NotVectorsError(f"the upstream answered {len(data)} vectors for {count} inputs")
    indices = [row.index for row in data]
    if indices == list(range(count)) or indices.count(None) == count:
        return [bytes(row.embedding) for row in data]
    if indices.count(None) == 1:  # servers that write their messages with protobuf leave a zero out
        indices[indices.index(None)] = 0
    by_index = {index: bytes(row.embedding) for index, row in zip(indices, data, strict=True)}
    if by_index.keys() != set(range(count)):
        raise NotVectorsError("the indices of the upstream's vectors are not those of the inputs, each once")
    return [by_index[index] for index in range(count)]


def _tokens(usage: msgspec.Raw) -> int | None:
    """Return the tokens of the inputs. Some servers count none and write 0, some have only the total."""
    said = decoded(bytes(usage))
    if not isinstance(said, dict):
        return None
    told = (said.get("prompt_tokens"), said.get("total_tokens"))
    return next((each for each in told if type(each) is int and 0 < each < _MOST_TOKENS), None)


# ---- one row ------------------------------------------------------------------------------------

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING = (b"", b"=", b"==")
#: Twelve bytes are three numbers and sixteen characters. A number is NaN or infinite only if the seven bits behind its
#: sign are set. The character that holds most of these bits, at one place for each of the three, is one of a few then;
#: at the last place numbers from 0.5 to 2 have it as well.
_ALL_SET = ((4, b"f/"), (9, b"HPXfnv3/"), (15, b"/"))
_OTHERS = tuple((start, bytes(set(_ALPHABET) - set(these))) for start, these in _ALL_SET)


def _plain_dimension(row: bytes) -> int:
    """Return how many numbers a row holds; 0 where that takes a closer look."""
    if row[0] == _QUOTE:
        characters = row[1:-1]
        size = _size(characters)
        if size and any(characters[start::16].translate(None, others) for start, others in _OTHERS):
            highest = binascii.a2b_base64(characters)[3::4]
            if b"\x7f" in highest or b"\xff" in highest:
                return 0
        return size // 4
    if row[0] != _OPENING or row.find(b"[", 1) >= 0 or any(sign in row for sign in _OF_OTHERS):
        return 0
    dimension = row.count(b",") + 1
    return dimension if dimension > 1 or row.strip(b"[] \t\r\n") else 0


def _size(characters: bytes) -> int:
    """Return the bytes that characters of base64 hold; 0 where they are no base64 of whole float32."""
    padding = characters.translate(None, _ALPHABET)
    size = len(characters) // 4 * 3 - len(padding)
    if len(characters) % 4 or size % 4 or padding not in _PADDING or not characters.endswith(padding):
        return 0
    return max(size, 0)


def _apart(rows: list[bytes]) -> tuple[list[bytes], int]:
    """Look at each row closely; return them if all are vectors of one length after all."""
    looked = [_looked_at(row) for row in rows]
    why = {at: reason for at, (_, _, reason) in enumerate(looked) if reason}
    if len(rows) > 1 and len(why) == len(rows) and set(why.values()) == {NO_NUMBERS}:
        # No input does this: the server speaks otherwise.
        raise NotVectorsError("the upstream's answer holds something that is not a vector of numbers")
    dimensions = {at: dimension for at, (_, dimension, reason) in enumerate(looked) if not reason}
    if why or len(set(dimensions.values())) > 1:
        raise BadRowsError([None if at in why else row for at, (row, _, _) in enumerate(looked)], why, dimensions)
    return [row for row, _, _ in looked], dimensions[0]


def _looked_at(row: bytes) -> tuple[bytes, int, str]:
    """Return a row as it is passed on, the numbers that it holds, and why it is no vector: empty if it is one."""
    if row[0] == _QUOTE:
        return _looked_at_base64(row)
    row = _without_nesting(row)
    try:
        vectors, dimension = split_vectors(b"[" + row + b"]", 1)
    except BadRowsError as problem:
        return row, 0, problem.why[0]
    return vectors[0], dimension, ""


def _looked_at_base64(row: bytes) -> tuple[bytes, int, str]:
    try:
        # Some servers write "/" as "\/", or break lines.
        characters = "".join(_read_text(row).split()).encode()
    except (msgspec.DecodeError, UnicodeError):
        return row, 0, NO_NUMBERS
    size = _size(characters)
    if not size:
        return row, 0, NO_NUMBERS if characters else EMPTY
    numbers = struct.unpack(f"<{size // 4}f", binascii.a2b_base64(characters))
    if not all(map(isfinite, numbers)):
        return row, 0, NO_NUMBER_WITHIN
    return b'"' + characters + b'"', len(numbers), ""


def _without_nesting(row: bytes) -> bytes:
    """Return the vector of a row that is a list of one vector, as llama-server's /embeddings writes it."""
    if row[0] == _OPENING and row[1:].lstrip()[:1] == b"[":
        inner = _read_raw(row)
        if len(inner) == 1:
            return bytes(inner[0])
    return row
