"""Speaks TEI's HTTP contract for one model: `POST /embed`, `GET /info`, `GET /health`."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
from flask import Flask, Response, current_app, request
from marshmallow import ValidationError
from numpy.typing import NDArray
from werkzeug.exceptions import HTTPException

from embedded import __version__
from embedded.errors import (
    EmbedError,
    InvalidRequestError,
    MalformedRequestError,
    MediaTypeError,
    OverloadedError,
)
from embedded.schemas import EmbedInput, EmbedRequest, EmbedRequestSchema

MAX_CLIENT_BATCH_SIZE = 32
MAX_CONCURRENT_REQUESTS = 512  # inputs, as TEI counts them
PAYLOAD_LIMIT = 2_000_000  # bytes

_JSON = "application/json"
_SCHEMA = EmbedRequestSchema()  # built once: building it costs more than using it


class Embedder(Protocol):
    """What the server needs of a model; `embedded.model.Model` is the real one."""

    model_id: str
    dimensions: int
    max_input_length: int

    def encode(self, text_or_ids: EmbedInput, *, truncate: bool, direction: str) -> list[int]:
        """Return the token ids of one input. Called from many threads."""

    def embed(
        self, encoded: Sequence[Sequence[int]], *, normalize: bool, dimensions: int | None
    ) -> NDArray[np.float32]:
        """Return one row per encoded input. Called from one thread at a time."""


class Permits:
    """Lets at most `limit` inputs into the server; a request that would exceed it is refused without waiting."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._lock = threading.Lock()  # guards _free

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Hold `count` permits, or raise `OverloadedError` without waiting."""
        with self._lock:
            if count > self._free:
                raise OverloadedError
            self._free -= count
        try:
            yield
        finally:
            with self._lock:
                self._free += count


@dataclass(frozen=True, slots=True)
class Timings:
    """The seconds that each stage of one call took, and the call's characters and tokens."""

    tokenization: float
    queue: float
    inference: float
    characters: int
    tokens: int

    def headers(self, total: float) -> dict[str, str]:
        """Return TEI's response headers; times in whole milliseconds, as TEI rounds them."""
        return {
            "x-compute-type": "cpu",
            "x-compute-time": _milliseconds(total),
            "x-compute-characters": str(self.characters),
            "x-compute-tokens": str(self.tokens),
            "x-total-time": _milliseconds(total),
            "x-tokenization-time": _milliseconds(self.tokenization),
            "x-queue-time": _milliseconds(self.queue),
            "x-inference-time": _milliseconds(self.inference),
        }


class EmbedService:
    """One call from request to vectors: permits, tokens, then the model, one call at a time."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._permits = Permits(MAX_CONCURRENT_REQUESTS)
        self._inference = threading.Lock()  # one inference at a time, and never two calls in one inference

    def embed(self, call: EmbedRequest) -> tuple[NDArray[np.float32], Timings]:
        """Return the vectors of `call.inputs`, in order, and what each stage took; or raise `EmbedError`."""
        if len(call.inputs) > MAX_CLIENT_BATCH_SIZE:
            raise InvalidRequestError(
                f"batch size {len(call.inputs)} > maximum allowed batch size {MAX_CLIENT_BATCH_SIZE}"
            )
        if call.prompt_name is not None:
            raise InvalidRequestError(
                f"Input validation error: `default-prompt-name` is set to `{call.prompt_name}` but "
                "no prompts were found in the Sentence Transformers configuration"
            )
        with self._permits.hold(len(call.inputs)):
            return self._embed(call)

    def _embed(self, call: EmbedRequest) -> tuple[NDArray[np.float32], Timings]:
        started = time.perf_counter()
        encoded = [
            self._model.encode(item, truncate=call.truncate, direction=call.truncation_direction)
            for item in call.inputs
        ]
        tokenized = time.perf_counter()
        with self._inference:
            entered = time.perf_counter()
            vectors = self._model.embed(encoded, normalize=call.normalize, dimensions=call.dimensions)
            left = time.perf_counter()
        return vectors, Timings(
            tokenization=tokenized - started,
            queue=entered - tokenized,
            inference=left - entered,
            characters=sum(map(len, call.inputs)),
            tokens=sum(map(len, encoded)),
        )


def create_app(model: Embedder) -> Flask:
    """Return the WSGI application serving `model`, which is loaded: the app is healthy from the start."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = PAYLOAD_LIMIT
    service = EmbedService(model)
    info = orjson.dumps(describe(model))

    @app.post("/embed")
    def embed() -> Response:
        started = time.perf_counter()
        vectors, timings = service.embed(_read_request())
        body = to_json(vectors)
        return Response(body, mimetype=_JSON, headers=timings.headers(time.perf_counter() - started))

    @app.get("/info")
    def show_info() -> Response:
        return Response(info, mimetype=_JSON)

    @app.get("/health")
    @app.get("/ping")
    @app.get("/")
    def health() -> Response:
        return Response(status=200)

    app.register_error_handler(EmbedError, _render_embed_error)
    app.register_error_handler(HTTPException, _render_http_error)
    app.register_error_handler(Exception, _render_crash)
    return app


def to_json(vectors: NDArray[np.float32]) -> bytes:
    """Return an array of arrays with the shortest digits that make each float32 again, as TEI writes them."""
    return orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY)


def describe(model: Embedder) -> dict[str, Any]:
    """Return TEI's `/info` body for `model`."""
    return {
        "model_id": model.model_id,
        "model_sha": None,
        "model_dtype": "float32",
        "served_model_name": model.model_id,
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": MAX_CONCURRENT_REQUESTS,
        "max_input_length": model.max_input_length,
        "max_batch_tokens": MAX_CLIENT_BATCH_SIZE * model.max_input_length,
        "max_batch_requests": None,
        "max_client_batch_size": MAX_CLIENT_BATCH_SIZE,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": "embedded",
    }


def _read_request() -> EmbedRequest:
    if not request.is_json:
        raise MediaTypeError("Expected request with `Content-Type: application/json`")
    try:
        body = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise MalformedRequestError(f"Failed to parse the request body as JSON: {error}") from error
    try:
        call: EmbedRequest = _SCHEMA.load(body)
    except ValidationError as error:
        raise InvalidRequestError(
            f"Failed to deserialize the JSON body into the target type: {_flatten(error)}"
        ) from error
    return call


def _flatten(error: ValidationError) -> str:
    """Return marshmallow's messages as one line: `inputs: Missing data for required field.`"""
    messages = error.messages_dict if isinstance(error.messages, dict) else {"_schema": error.messages}
    parts = [f"{field}: {' '.join(map(str, texts))}" for field, texts in sorted(messages.items())]
    return "; ".join(parts).replace("_schema: ", "")


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _render(message: str, error_type: str, status: int) -> Response:
    body = orjson.dumps({"error": message, "error_type": error_type})
    return Response(body, status=status, mimetype=_JSON)


def _render_embed_error(error: EmbedError) -> Response:
    return _render(str(error), error.error_type, error.status)


def _render_http_error(error: HTTPException) -> Response:
    """Keep the exception's own headers (`Allow` on 405), but never its HTML page."""
    response = _render(error.description or error.name, "Validation", error.code or 500)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _render_crash(error: Exception) -> Response:
    """The model failed on a request it accepted: TEI's Backend error. The details go to the log only."""
    current_app.logger.error("inference failed", exc_info=error)
    return _render("Backend error: inference failed, see the server's log", "Backend", 424)
