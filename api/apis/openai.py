"""OpenAI's embeddings: ``{"input": …, "model": …}`` in, ``{"object": "list", "data": […], …}`` out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import INCLUDE, Schema, ValidationError, fields, missing, validate

from api.apis.fields import PLAIN, Inputs, ModelName, StrictInteger, Text, further
from api.apis.query import Body, Bounds, Query, Route
from api.apis.texts import tokens
from api.apis.wrong_fields import WrongFieldsError
from batching.errors import UpstreamProtocolError
from batching.key import BatchKey, Options, Task
from formats.floats import as_base64, as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.call import Call

#: In which the SDKs for Python and Java tell how many seconds they wait.
DEADLINE_HEADERS = (("HTTP_X_STAINLESS_READ_TIMEOUT", 1.0), ("HTTP_X_STAINLESS_TIMEOUT", 1.0))

_FAMILY = "openai"
_NO_OPTIONS = PLAIN.options
_OPENING = ord("[")
_to_json = msgspec.json.Encoder().encode


class OpenAiInputs(Inputs):
    """Inputs of which an empty list is as wrong as an empty text."""

    def _without_any(self, attr: str | None) -> Exception:  # noqa: ARG002
        return self.make_error("empty")


class EmbeddingsSchema(Schema):
    """``POST /v1/embeddings``. Members beside these are kept: they may mean something to the upstream."""

    class Meta:
        unknown = INCLUDE

    input = OpenAiInputs(required=True, error_messages={"required": "must be given"})
    model = ModelName(allow_none=True)
    encoding_format = Text(
        allow_none=True, validate=validate.OneOf(["float", "base64"], error="must be float or base64")
    )
    dimensions = StrictInteger(
        allow_none=True, validate=validate.Range(min=1, max=1_000_000, error="must be between 1 and 1000000")
    )
    #: Names the end user for the provider's monitoring of abuse, and changes no vector.
    user = fields.Raw(allow_none=True)
    #: The price at which OpenAI computes it: ``flex`` waits for capacity that is left, which is what bulk does here. It
    #: changes no vector.
    service_tier = Text(allow_none=True)


#: Those that are looked at; the order is that in which an error names them.
_CHECKED = {name: field for name, field in EmbeddingsSchema().fields.items() if name != "user"}
_KNOWN = frozenset(EmbeddingsSchema().fields)


def read(body: Body, bounds: Bounds, deployment: str | None = None) -> Query:
    """Read a body; raises ``WrongFieldsError``, which names each wrong field, or ``RequestError``.

    ``deployment``: Azure's name for the model, from the path; a model in the body comes before it.
    """
    members = _checked(body, bounds.items)
    items, is_list = members["input"]
    model = members.get("model") or deployment
    has_token_ids = any(item[0] == _OPENING for item in items) if is_list else items[0][0] == _OPENING
    form = as_base64 if members.get("encoding_format") == "base64" else as_numbers
    named = bounds.model or model or ""
    key = _key(body, model, members.get("dimensions"))
    return Query(key, items, partial(_answer, form, named), has_token_ids, members.get("service_tier") == "flex")


def _checked(body: Body, most: int) -> dict[str, Any]:
    """Return the members that the schema knows, as its fields load them; inputs are counted before all else."""
    value = body.get("input")
    if isinstance(value, list) and len(value) > most and type(value[0]) is not int:  # else it is one input
        raise WrongFieldsError([("input", f"batch size {len(value)} > maximum allowed batch size {most}")])
    members: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    # The fields are asked one by one: for a small body, the schema's own ``load`` takes longer than all of them.
    for name, field in _CHECKED.items():
        if name in body or field.required:
            try:
                members[name] = field.deserialize(body.get(name, missing), name, body)
            except ValidationError as problem:
                wrong[name] = problem.messages
    if wrong:
        raise WrongFieldsError.of(wrong)
    return members


def _key(body: Body, model: str | None, dimensions: int | None) -> BatchKey:
    """Return the batch key: all that may change the vectors, and nothing of how they are written."""
    more = further({name: value for name, value in body.items() if name not in _KNOWN}) if body.keys() - _KNOWN else ()
    if not more and dimensions is None:
        return PLAIN if model is None else BatchKey(Task.EMBED, _NO_OPTIONS, model)
    return BatchKey(Task.EMBED, Options(dimensions=dimensions, more=more, family=_FAMILY if more else ""), model)


def _answer(form: Callable[[bytes], bytes], model: str, call: Call) -> bytes:
    """Return the answer's body; ``form`` writes each vector. Raises ``UpstreamProtocolError`` where one has no form."""
    quote = b'"' if form is as_base64 else b""
    try:
        vectors = [
            b'{"object":"embedding","index":%d,"embedding":%b%b%b}' % (index, quote, form(result), quote)
            for index, result in enumerate(call.results)
        ]
    except ValueError as problem:
        raise UpstreamProtocolError(
            f"the upstream answered a vector that cannot be told as asked: {problem}"
        ) from problem
    count = tokens(call)
    return b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        b",".join(vectors),
        _to_json(model),
        count,
        count,
    )


#: Azure's have the version of its API in the query, which changes nothing here.
PATHS = ("/v1/embeddings", "/embeddings", "/openai/v1/embeddings", "/openai/deployments/<path:deployment>/embeddings")
ROUTES = tuple(
    Route(
        path,
        read,
        EmbeddingsSchema,
        long_members=frozenset({"input"}),
        deadline_headers=DEADLINE_HEADERS,
        takes_base64=True,
    )
    for path in PATHS
)
