"""Cohere's API, versions 1 and 2: ``{"texts": …}`` in, ``{"embeddings": …}`` out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from api.apis.fields import ModelName, StrictInteger, Text
from api.apis.query import Body, Bounds, Query, Route
from api.apis.texts import Texts, load, quoted_base64, tokens, vectors
from api.error_forms import RequestError, plain_text
from batching.key import BatchKey, Options, Task
from formats.floats import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Call, Item
    from batching.errors import ProxyError

#: The forms of an embedding that are served, each with what makes it of a result.
_FORMS = {"float": as_numbers, "base64": quoted_base64}
#: Those that Cohere has beside them: they need the model's own calibration.
_OTHER_FORMS = frozenset({"int8", "uint8", "binary", "ubinary"})
_TRUNCATE = {
    "NONE": Options(truncate=False),
    "START": Options(truncate=True, truncation_direction="left"),
    "END": Options(truncate=True),
}

_to_json = msgspec.json.Encoder().encode


class ListOfTexts(Texts):
    """A list of texts."""

    default_error_messages = {"type": "must be a list of texts"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:
        if not isinstance(value, list):
            raise self.make_error("type")
        return super()._deserialize(value, attr, data, **kwargs)


class Contents(Texts):
    """A list of ``{"content": [{"type": "text", "text": …}]}``, whose texts it loads."""

    default_error_messages = {
        "type": "must be a list of inputs",
        "input": "must have a content of one part, whose type is text",
        "image": "holds an image, and only texts are embedded here",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:
        if not isinstance(value, list):
            raise self.make_error("type")
        texts = []
        for position, each in enumerate(value):
            try:
                texts.append(self._text_of(each))
            except ValidationError as problem:
                raise ValidationError({position: problem.messages}) from problem
        return super()._deserialize(texts, attr, data, **kwargs)

    def _text_of(self, given: Any) -> Any:
        parts = given.get("content") if isinstance(given, dict) else None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise self.make_error("input")
        if any(part.get("type") == "image_url" for part in parts):
            raise self.make_error("image")
        if len(parts) != 1 or parts[0].get("type") != "text" or not isinstance(parts[0].get("text"), str):
            raise self.make_error("input")
        return parts[0]["text"]


class Forms(fields.Field[Any]):
    """A list of names of forms, each once; loads as a tuple. An empty list means none in particular."""

    default_error_messages = {
        "type": "must be a list of float and base64",
        "other": "{form} is not served: it needs the model's own calibration, and the upstream gives floats. float and "
        "base64 are served",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:  # noqa: ARG002
        if not isinstance(value, list) or not all(isinstance(form, str) for form in value):
            raise self.make_error("type")
        for form in value:
            if form in _OTHER_FORMS:
                raise self.make_error("other", form=form)
            if form not in _FORMS:
                raise self.make_error("type")
        return tuple(dict.fromkeys(value))


class NotServed(fields.Field[Any]):
    """A member that would change the embeddings, and is refused. An empty list asks for nothing."""

    def __init__(self, why: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._why = why

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if value != []:
            raise ValidationError(f"not served: {self._why}")


class CohereEmbedSchema(Schema):
    """``POST /v1/embed`` and ``POST /v2/embed``. Members that are not here are ignored.

    ``input_type`` tells Cohere's models queries from documents. The servers behind have no such member, or other words
    for its values, so it goes nowhere, and is no part of the batch key.
    """

    class Meta:
        unknown = EXCLUDE

    texts = ListOfTexts(allow_none=True)
    inputs = Contents(allow_none=True, metadata={"description": "Version 2's other way to give texts."})
    model = ModelName(allow_none=True)
    input_type = Text(allow_none=True)
    embedding_types = Forms(allow_none=True)
    output_dimension = StrictInteger(
        allow_none=True,
        validate=validate.Range(min=1, max=1_000_000, error="must be between 1 and 1000000"),
    )
    truncate = Text(allow_none=True, validate=validate.OneOf(_TRUNCATE, error="must be NONE, START or END"))
    images = NotServed("only texts are embedded here", allow_none=True)
    max_tokens = NotServed("the upstream cuts texts where its model has to, and nowhere else", allow_none=True)


class CohereApi:
    """Cohere's form of an error, with 400 for what is wrong with a body."""

    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ("/v1/embed", "/v2/embed")

    def status(self, error: ProxyError) -> int:
        return 400 if error.status == 422 else error.status

    def error(self, error: ProxyError, identity: str) -> bytes:
        return _to_json({"id": identity, "message": plain_text(error.message)})


_schema = CohereEmbedSchema()


def read_v1(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/v1/embed``, which tells embeddings by type only where types are asked for.

    Raises ``RequestError``.
    """
    key, items, forms = _read(body, bounds)
    return Query(key, items, partial(_by_type, b"1", forms) if forms else _floats)


def read_v2(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/v2/embed``, which always tells embeddings by type; raises ``RequestError``."""
    key, items, forms = _read(body, bounds)
    return Query(key, items, partial(_by_type, b"2", forms or ("float",)))


def _read(body: Body, bounds: Bounds) -> tuple[BatchKey, list[Item], tuple[str, ...]]:
    """Return the key, the items and the forms that are asked for. As in Cohere, texts are cut at their end."""
    members = load(_schema, body, {"texts": bounds.items, "inputs": bounds.items})
    given = [members[name] for name in ("texts", "inputs") if members.get(name) is not None]
    if len(given) != 1:
        raise RequestError(400, "give either `texts` or `inputs`")
    items, _ = given[0]
    options = _TRUNCATE[members.get("truncate") or "END"]
    if (dimensions := members.get("output_dimension")) is not None:
        options = options._replace(dimensions=dimensions)
    key = BatchKey(Task.EMBED, options, members.get("model") or None)
    return key, items, members.get("embedding_types") or ()


def _floats(call: Call) -> bytes:
    return _answer(call, b"1", b"embeddings_floats", b"[" + vectors(call) + b"]")


def _by_type(version: bytes, forms: Sequence[str], call: Call) -> bytes:
    made = (b'"%b":[%b]' % (form.encode(), vectors(call, _FORMS[form])) for form in forms)
    return _answer(call, version, b"embeddings_by_type", b"{" + b",".join(made) + b"}")


def _answer(call: Call, version: bytes, response_type: bytes, embeddings: bytes) -> bytes:
    return b"".join(
        (
            b'{"id":"%b","texts":[' % str(uuid4()).encode(),
            b",".join(call.items),  # which are the texts, as JSON
            b'],"embeddings":',
            embeddings,
            b',"meta":{"api_version":{"version":"%b"},"billed_units":{"input_tokens":%d}}' % (version, tokens(call)),
            b',"response_type":"%b"}' % response_type,
        )
    )


_LONG = frozenset({"texts", "inputs"})
ROUTES = (
    Route("/v1/embed", read_v1, CohereEmbedSchema, long_members=_LONG, takes_base64=True),
    Route("/v2/embed", read_v2, CohereEmbedSchema, long_members=_LONG, takes_base64=True),
)
