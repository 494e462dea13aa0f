"""OpenAI's form of embeddings as TEI speaks it: its body, its answer with numbers or base64, and its list of models."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from marshmallow import EXCLUDE, Schema, fields, post_load, pre_load, validate
from numpy.typing import NDArray

from embedded.errors import MalformedRequestError
from embedded.schemas import EmbedRequest, InputsField


@dataclass(frozen=True, slots=True)
class OpenAIRequest:
    """One request of the right types: what to embed, and the form of its vectors."""

    embed: EmbedRequest
    is_base64: bool


class OpenAIRequestSchema(Schema):
    """The body of `/v1/embeddings`. Any `model` will do, for one is served; other fields are ignored, as by TEI."""

    class Meta:
        unknown = EXCLUDE

    input = InputsField(required=True)
    model = fields.String(allow_none=True)
    user = fields.String(allow_none=True)
    encoding_format = fields.String(load_default="float", validate=validate.OneOf(["float", "base64"]))
    dimensions = fields.Integer(load_default=None, allow_none=True, strict=True)

    @pre_load
    def _refuse_null(self, data: Any, **_: Any) -> Any:
        # TEI's reader of JSON takes this null for a mistake of the JSON itself.
        if isinstance(data, dict) and data.get("encoding_format", "") is None:
            raise MalformedRequestError("Failed to parse the request body as JSON: encoding_format: expected value")
        return data

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> OpenAIRequest:
        return OpenAIRequest(
            EmbedRequest(data["input"], dimensions=data["dimensions"]), data["encoding_format"] == "base64"
        )


def answer(vectors: NDArray[np.float32], tokens: int, model: str, *, is_base64: bool) -> bytes:
    """Return the body for vectors (n, d) of this many tokens; base64 holds each vector's float32s, little-endian."""
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "embedding": _base64(vector) if is_base64 else vector, "index": index}
                for index, vector in enumerate(vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def models(model: str) -> bytes:
    """Return the list of the one model that is served. TEI has none; OpenAI's clients ask for it."""
    return orjson.dumps({"object": "list", "data": [_described(model)]})


def described(model: str) -> bytes:
    """Return what is told of the one model."""
    return orjson.dumps(_described(model))


def _described(model: str) -> dict[str, object]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "embedded"}


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
