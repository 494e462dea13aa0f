"""Ollama's API: ``{"input": …}`` in, ``{"embeddings": …}`` out, and the older pair of ``prompt`` and ``embedding``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import EXCLUDE, Schema, fields, validate

from api.apis.fields import ModelName, StrictBoolean, StrictInteger
from api.apis.query import Body, Bounds, Finished, Query, Route
from api.apis.texts import Texts, load, tokens, vectors
from api.error_forms import plain_text
from batching.key import BatchKey, Options, Task

if TYPE_CHECKING:
    from batching.call import Call
    from batching.errors import ProxyError

#: What stands for no input: Ollama answers it without asking its model.
_NOTHING: tuple[Any, ...] = (None, "", [])
_NANOSECONDS = 1e9

_to_json = msgspec.json.Encoder().encode


class _OllamaSchema(Schema):
    """What both routes take. Members that Ollama does not know are ignored, as there.

    ``options`` and ``keep_alive`` are about the process that runs the model, which is the upstream's. Neither changes
    an embedding, so neither goes upstream.
    """

    class Meta:
        unknown = EXCLUDE

    model = ModelName(allow_none=True)
    options = fields.Dict(allow_none=True, error_messages={"invalid": "must be an object"})
    keep_alive = fields.Raw(allow_none=True)


class OllamaEmbedSchema(_OllamaSchema):
    """``POST /api/embed``."""

    input = Texts(metadata={"description": "A text or a list of texts. None at all gets no embedding."})
    truncate = StrictBoolean(allow_none=True)
    dimensions = StrictInteger(
        allow_none=True,
        validate=validate.Range(min=0, max=1_000_000, error="must be between 0 and 1000000"),
    )


class OneText(Texts):
    """A text; loads as ([item], False)."""

    default_error_messages = {"type": "must be a text"}

    def _many(self, values: list[Any]) -> Any:  # noqa: ARG002
        raise self.make_error("type")


class OllamaEmbeddingsSchema(_OllamaSchema):
    """``POST /api/embeddings``, which Ollama keeps for older clients."""

    prompt = OneText(metadata={"description": "A text. None at all gets an empty embedding."})


class OllamaApi:
    """Ollama's form of an error, with 400 for what is wrong with a body."""

    prefixes: tuple[str, ...] = ("/api/",)
    suffixes: tuple[str, ...] = ()

    def status(self, error: ProxyError) -> int:
        return 400 if error.status == 422 else error.status

    def error(self, error: ProxyError, identity: str) -> bytes:  # noqa: ARG002
        return _to_json({"error": plain_text(error.message)})


_embed, _embeddings = OllamaEmbedSchema(), OllamaEmbeddingsSchema()


def read_embed(body: Body, bounds: Bounds) -> Query | Finished:
    """Read the body of ``/api/embed``; raises ``RequestError``.

    As in Ollama, a text that is too long is cut where ``truncate`` does not forbid it, and 0 dimensions mean all.
    """
    members = load(_embed, _without_nothing(body, "input"), {"input": bounds.items})
    options = Options(truncate=members.get("truncate") is not False, dimensions=members.get("dimensions") or None)
    key = BatchKey(Task.EMBED, options, members.get("model") or None)
    head = b'{"model":' + _to_json(key.model or bounds.model or "") + b',"embeddings":['
    if "input" not in members:
        return Finished(head + b"]}")
    return Query(key, members["input"][0], partial(_answer, head))


def read_embeddings(body: Body, bounds: Bounds) -> Query | Finished:  # noqa: ARG001 - it has one input
    """Read the body of ``/api/embeddings``; raises ``RequestError``. It asks for what ``/api/embed`` asks for."""
    members = load(_embeddings, _without_nothing(body, "prompt"), {})
    if "prompt" not in members:
        return Finished(b'{"embedding":[]}')
    key = BatchKey(Task.EMBED, Options(truncate=True), members.get("model") or None)
    return Query(key, members["prompt"][0], _older_answer)


def _without_nothing(body: Body, name: str) -> Body:
    """Return the body without this member if it stands for no input."""
    return {each: value for each, value in body.items() if each != name} if body.get(name) in _NOTHING else body


def _answer(head: bytes, call: Call) -> bytes:
    """``load_duration`` is 0, for the proxy loads no model; the call's time is the wait and the upstream's work."""
    nanoseconds = int((call.queue_delay + call.inference_time) * _NANOSECONDS)
    figures = b'],"total_duration":%d,"load_duration":0,"prompt_eval_count":%d}' % (nanoseconds, tokens(call))
    return head + vectors(call) + figures


def _older_answer(call: Call) -> bytes:
    return b'{"embedding":' + vectors(call) + b"}"


ROUTES = (
    Route(
        "/api/embed",
        read_embed,
        OllamaEmbedSchema,
        long_members=frozenset({"input"}),
        takes_base64=True,
        any_type=True,
    ),
    Route(
        "/api/embeddings",
        read_embeddings,
        OllamaEmbeddingsSchema,
        long_members=frozenset({"prompt"}),
        takes_base64=True,
        any_type=True,
    ),
)
