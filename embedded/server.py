"""Speaks TEI's HTTP contract for one embedding model, with OpenAI's routes as TEI has them."""

import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import orjson
from flask import Flask, Response, abort, request
from marshmallow import Schema
from numpy.typing import NDArray
from werkzeug.exceptions import HTTPException

from embedded import __version__, openai
from embedded.bodies import checked, read, read_json
from embedded.errors import BackendError, EmbedError, EmptyInputError
from embedded.responses import render_crash, render_embed_error, render_http_error, reply
from embedded.schemas import (
    DecodeSchema,
    EmbedAllSchema,
    EmbedRequest,
    EmbedRequestSchema,
    PredictSchema,
    RerankSchema,
    SimilarityRequest,
    SimilaritySchema,
    TokenizeSchema,
)
from embedded.service import MAX_CLIENT_BATCH_SIZE, MAX_CONCURRENT_REQUESTS, Embedder, EmbedService, Timings

PAYLOAD_LIMIT = 2_000_000  # bytes

# Built once: building a schema costs more than using it.
_EMBED = EmbedRequestSchema()
_EMBED_ALL = EmbedAllSchema()
_SIMILARITY = SimilaritySchema()
_TOKENIZE = TokenizeSchema()
_DECODE = DecodeSchema()
_OPENAI = openai.OpenAIRequestSchema()
_PREDICT = PredictSchema()
_RERANK = RerankSchema()
# What this model cannot do: the body that is asked for, and TEI's refusal.
_OTHER_KINDS: dict[str, tuple[Schema, str]] = {
    "/predict": (_PREDICT, "Backend error: Model is not a classifier model"),
    "/rerank": (_RERANK, "Backend error: model is not a re-ranker model"),
    "/embed_sparse": (_EMBED_ALL, "Backend error: Model is not an embedding model with SPLADE pooling"),
}


def create_app(model: Embedder) -> Flask:
    """Return the WSGI application serving `model`, which is loaded: the app is healthy from the start."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = PAYLOAD_LIMIT
    service = EmbedService(model)
    _add_tei(app, service)
    _add_openai(app, service, model.model_id)
    _add_others(app, orjson.dumps(describe(model)))
    app.register_error_handler(EmbedError, render_embed_error)
    app.register_error_handler(HTTPException, render_http_error)
    app.register_error_handler(Exception, render_crash)
    return app


def to_json(vectors: NDArray[np.float32] | list[NDArray[np.float32]]) -> bytes:
    """Return nested arrays with the shortest digits that make each float32 again, as TEI writes them."""
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


def _add_tei(app: Flask, service: EmbedService) -> None:
    @app.post("/embed")
    def embed() -> Response:
        started = time.perf_counter()
        return _timed(started, *service.embed(read(_EMBED)))

    @app.post("/embed_all")
    def embed_all() -> Response:
        started = time.perf_counter()
        return _timed(started, *service.embed_all(read(_EMBED_ALL)))

    @app.post("/similarity")
    def similarity() -> Response:
        started = time.perf_counter()
        return _timed(started, *service.similarity(read(_SIMILARITY)))

    @app.post("/")
    @app.post("/invocations")
    def by_shape() -> Response:
        started = time.perf_counter()
        call = _told_by_shape(read_json())
        if isinstance(call, SimilarityRequest):
            return _timed(started, *service.similarity(call))
        return _timed(started, *service.embed(call))

    @app.post("/tokenize")
    def tokenize() -> Response:
        return reply(orjson.dumps(service.tokenize(read(_TOKENIZE))))

    @app.post("/decode")
    def decode() -> Response:
        return reply(orjson.dumps(service.decode(read(_DECODE))))


def _add_openai(app: Flask, service: EmbedService, model: str) -> None:
    models, described = openai.models(model), openai.described(model)

    @app.post("/v1/embeddings")
    @app.post("/embeddings")
    def embeddings() -> Response:
        started = time.perf_counter()
        call = read(_OPENAI)
        vectors, timings = service.embed(call.embed)
        body = openai.answer(vectors, timings.tokens, model, is_base64=call.is_base64)
        return reply(body, timings.headers(time.perf_counter() - started))

    @app.get("/v1/models")
    def list_models() -> Response:
        return reply(models)

    @app.get("/v1/models/<path:name>")
    def show_model(name: str) -> Response:
        if name != model:
            abort(404, f"no model `{name}` is served here, but `{model}`")
        return reply(described)


def _add_others(app: Flask, info: bytes) -> None:
    @app.get("/info")
    def show_info() -> Response:
        return reply(info)

    @app.get("/health")
    @app.get("/ping")
    @app.get("/")
    def health() -> Response:
        return Response(status=200)

    @app.post("/predict")
    @app.post("/rerank")
    @app.post("/embed_sparse")
    def other_kind() -> Response:
        _refuse_other_kind(request.path, read_json())


def _refuse_other_kind(path: str, body: Any) -> NoReturn:
    """Raise the `EmbedError` with which an embedding model refuses a call for a model of another kind."""
    schema, words = _OTHER_KINDS[path]
    call = checked(schema, body)
    if schema is _EMBED_ALL and not all(call.inputs):
        raise EmptyInputError
    if schema is _PREDICT and not all(map(any, call["inputs"])):
        raise EmptyInputError
    if schema is _RERANK and not call["texts"]:
        raise EmptyInputError("`texts` cannot be empty")
    if schema is _RERANK and not call["query"] and "" in call["texts"]:
        raise EmptyInputError
    raise BackendError(words)


def _told_by_shape(body: Any) -> EmbedRequest | SimilarityRequest:
    """Return the request that a body on a path without a task means. Raise `EmbedError`."""
    if isinstance(body, Mapping):
        if "query" in body and "texts" in body:
            _refuse_other_kind("/rerank", body)
        if isinstance(inputs := body.get("inputs"), Mapping) and "source_sentence" in inputs:
            call: SimilarityRequest = checked(_SIMILARITY, body)
            return call
    return checked(_EMBED, body)  # type: ignore[no-any-return]


def _timed(started: float, result: NDArray[np.float32] | list[NDArray[np.float32]], timings: Timings) -> Response:
    body = to_json(result)
    return reply(body, timings.headers(time.perf_counter() - started))
