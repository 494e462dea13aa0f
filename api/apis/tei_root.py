"""TEI's ``POST /`` and ``POST /invocations``, whose body says by its shape which route it is meant for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import fields

from api.apis.fields import EmbedOptionsSchema, StrictBoolean, Text
from api.apis.tei import read_embed, read_embed_all, read_embed_sparse
from api.apis.tei_predict import read_predict
from api.apis.tei_rerank import read_rerank
from api.apis.tei_texts import read_similarity
from batching.key import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from api.apis.query import Body, Bounds, Forward, Query

_READ: Mapping[Task, Callable[[Body, Bounds], Query]] = {
    Task.EMBED: read_embed,
    Task.EMBED_ALL: read_embed_all,
    Task.EMBED_SPARSE: read_embed_sparse,
    Task.CLASSIFY: read_predict,
}


class RootSchema(EmbedOptionsSchema):
    """The members of all bodies that ``POST /`` takes: those of ``/embed``, ``/predict``, ``/rerank``, ``/similarity``.

    For documents; each body is checked by the schema of the route that it is meant for.
    """

    inputs = fields.Raw()
    query = Text()
    texts = fields.List(Text())
    raw_scores = StrictBoolean()
    return_text = StrictBoolean()
    parameters = fields.Dict(allow_none=True)


def read_root(body: Body, bounds: Bounds) -> Query | Forward:
    """Read the body as that of the route it is meant for; raises ``RequestError``.

    ``query`` with ``texts`` is a rerank, and ``inputs`` with a ``source_sentence`` a similarity. All else is what the
    upstream's model is for.
    """
    if "query" in body and "texts" in body:
        return read_rerank(body, bounds)
    inputs = body.get("inputs")
    if isinstance(inputs, dict) and "source_sentence" in inputs:
        return read_similarity(body, bounds)
    return _READ[bounds.task](body, bounds)
