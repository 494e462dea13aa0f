"""TEI's routes that are passed on: ``/similarity``, ``/tokenize`` and ``/decode``, split into calls it takes.

They need no batches: the server tokenizes in no time, and gives one answer for a similarity's texts together.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from marshmallow import INCLUDE, Schema, ValidationError, fields

from api.apis import texts
from api.apis.fields import Inputs, Loader, StrictBoolean, Text, TruncationSchema, check_count, further
from api.apis.query import Body, Bounds, Forward
from api.apis.tei import REQUIRED, load
from api.apis.tei_rerank import MAX_PAIR_BYTES, JsonText, Texts
from api.error_forms import RequestError
from batching.errors import UpstreamProtocolError
from formats.elements import NotElementsError, joined_elements, split_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item

_NO_IDS = "Input validation error: `input_ids` cannot be empty"


class OneOrMoreTexts(texts.Texts):
    """A text or a list of texts, none empty; loads as (items, whether it was a list)."""

    def _without_any(self, attr: str | None) -> Exception:  # noqa: ARG002
        return self.make_error("empty")


class TokenIds(Inputs):
    """A list of token ids, or a list of such lists, none empty; loads as (items, whether it was a list of lists)."""

    default_error_messages = {
        "type": "must be a list of token ids, or a list of such lists",
        "item": "must be a list of token ids",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:
        if not isinstance(value, list):
            raise self.make_error("type")
        for at, each in enumerate(value if value and type(value[0]) is not int else ()):
            if not isinstance(each, list):
                raise ValidationError({at: [self.error_messages["item"]]})
        return super()._deserialize(value, attr, data, **kwargs)

    def _without_any(self, attr: str | None) -> Exception:  # noqa: ARG002
        return self.make_error("empty")


class Part(fields.Nested):
    """An object within the body, with a schema of its own."""

    default_error_messages = {"null": "must not be null", "type": "must be an object"}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, dict):
            raise self.make_error("type")
        return super()._deserialize(value, *args, **kwargs)


class TokenizeSchema(Schema):
    """The body of ``POST /tokenize``."""

    class Meta:
        unknown = INCLUDE

    inputs = OneOrMoreTexts(required=True, error_messages=REQUIRED)
    add_special_tokens = StrictBoolean()
    prompt_name = Text(allow_none=True)


class DecodeSchema(Schema):
    """The body of ``POST /decode``."""

    class Meta:
        unknown = INCLUDE

    ids = TokenIds(required=True, error_messages=REQUIRED)
    skip_special_tokens = StrictBoolean()


class SimilarityInputsSchema(Schema):
    """What is compared: one text with each of the others."""

    class Meta:
        unknown = INCLUDE

    source_sentence = JsonText(required=True, error_messages=REQUIRED)
    sentences = Texts(required=True, error_messages=REQUIRED)


class SimilarityParametersSchema(TruncationSchema):
    """The options of a similarity."""

    prompt_name = Text(allow_none=True)


class SimilaritySchema(Schema):
    """The body of ``POST /similarity``."""

    class Meta:
        unknown = INCLUDE

    inputs = Part(SimilarityInputsSchema, required=True, error_messages=REQUIRED)
    parameters = Part(SimilarityParametersSchema, allow_none=True)


_tokenize = Loader(TokenizeSchema())
_decode = Loader(DecodeSchema())
_similarity = Loader(SimilaritySchema())


def read_tokenize(body: Body, bounds: Bounds) -> Forward:
    """Read the body of ``/tokenize``; raises ``RequestError``."""
    members = load(_tokenize, body, bounds.items)
    items, is_list = members["inputs"]
    options = _options(members, ("add_special_tokens", "prompt_name"))
    return _forward("/tokenize", b'{"inputs":', items, options, bounds.upstream_items if is_list else None)


def read_decode(body: Body, bounds: Bounds) -> Forward:
    """Read the body of ``/decode``; raises ``RequestError``."""
    members = load(_decode, body, bounds.items, empty=_NO_IDS)
    ids, is_list = members["ids"]
    options = _options(members, ("skip_special_tokens",))
    return _forward("/decode", b'{"ids":', ids, options, bounds.upstream_items if is_list else None)


def read_similarity(body: Body, bounds: Bounds) -> Forward:
    """Read the body of ``/similarity``; raises ``RequestError``.

    The source is sent with each call that the sentences are split into, and counts as one of its texts, as it does for
    TEI.
    """
    given = body.get("inputs")
    listed = given.get("sentences") if isinstance(given, dict) else None
    check_count(len(listed) + 1 if isinstance(listed, list) else 1, bounds.items)
    members = load(_similarity, body, bounds.items)
    source, (sentences, _) = members["inputs"]["source_sentence"], members["inputs"]["sentences"]
    if not sentences:
        raise RequestError(400, "`inputs.sentences` cannot be empty", error_type="Empty")
    if source == b'""' or b'""' in sentences:
        raise RequestError(400, "Input validation error: `inputs` cannot be empty", error_type="Empty")
    most = max(bounds.upstream_items - 1, 1)
    if (size := len(source) * (len(sentences) // most)) > MAX_PAIR_BYTES:
        raise RequestError(413, f"inputs.source_sentence: it would be sent as {size} bytes, more than {MAX_PAIR_BYTES}")
    tail = b"}" + _options(members, ("parameters",))
    head = b'{"inputs":{"source_sentence":' + source + b',"sentences":'
    return _forward("/similarity", head, sentences, tail, most)


def _options(members: Body, names: Sequence[str]) -> bytes:
    """Return the options that are given as members to stand behind the inputs."""
    given = further({name: members[name] for name in names if members.get(name) not in (None, {})})
    return b"".join(b',"' + name.encode() + b'":' + value for name, value in given)


def _forward(path: str, head: bytes, items: list[Item], tail: bytes, most: int | None) -> Forward:
    """Return the calls for the items, ``most`` in each. None: there is one, which does not stand in a list."""
    if most is None:
        return Forward(path, [head + items[0] + tail + b"}"])
    pieces = [items[at : at + most] for at in range(0, len(items), most)]
    bodies = [head + joined_elements(piece) + tail + b"}" for piece in pieces]
    join = partial(_join, [len(piece) for piece in pieces]) if len(pieces) > 1 else None
    return Forward(path, bodies, join, len(items))


def _join(counts: list[int], replies: list[bytes]) -> bytes:
    """Return one array of all results. ``counts``: how many each reply must have."""
    try:
        parts = [split_elements(reply, count) for reply, count in zip(replies, counts, strict=True)]
    except NotElementsError as problem:
        raise UpstreamProtocolError(str(problem)) from problem
    return joined_elements([element for part in parts for element in part])
