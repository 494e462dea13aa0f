"""The routes of TEI's API but for ``/embed``, which it shares with the short form."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from api.apis import tei, tei_predict, tei_rerank, tei_root, tei_texts
from api.apis.query import Route
from api.apis.wrong_fields import WrongFieldsError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from marshmallow import Schema

    from api.apis.query import Body, Bounds, Forward, Query

    Read = Callable[[Body, Bounds], Query | Forward]

_LONG_TEXTS = frozenset({"inputs", "query", "texts"})


def _unprocessable(names: Container[str]) -> int:  # noqa: ARG001
    """Return the status for a body in which a name stands twice, as TEI has it."""
    return 422


def _refusing(read: Read) -> Read:
    """Return the same reader, which tells in TEI's statuses and words what is found wrong behind the schema, too."""

    @wraps(read)
    def reader(body: Body, bounds: Bounds) -> Query | Forward:
        try:
            return read(body, bounds)
        except WrongFieldsError as problem:
            raise tei.refusal(problem) from problem.__cause__

    return reader


def _route(path: str, read: Read, schema: type[Schema], long_members: frozenset[str]) -> Route:
    return Route(path, _refusing(read), schema, _unprocessable, long_members, no_object_status=422)


ROUTES: Sequence[Route] = (
    _route("/embed_all", tei.read_embed_all, tei.EmbedAllSchema, _LONG_TEXTS),
    _route("/embed_sparse", tei.read_embed_sparse, tei.EmbedAllSchema, _LONG_TEXTS),
    _route("/predict", tei_predict.read_predict, tei_predict.PredictSchema, _LONG_TEXTS),
    _route("/rerank", tei_rerank.read_rerank, tei_rerank.RerankSchema, _LONG_TEXTS),
    _route("/similarity", tei_texts.read_similarity, tei_texts.SimilaritySchema, _LONG_TEXTS),
    _route("/tokenize", tei_texts.read_tokenize, tei_texts.TokenizeSchema, _LONG_TEXTS),
    _route("/decode", tei_texts.read_decode, tei_texts.DecodeSchema, frozenset({"ids"})),
    _route("/", tei_root.read_root, tei_root.RootSchema, _LONG_TEXTS),
    _route("/invocations", tei_root.read_root, tei_root.RootSchema, _LONG_TEXTS),
)
