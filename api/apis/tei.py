"""Text Embeddings Inference's form: ``{"inputs": …}`` in, ``[[…], …]`` out; and what all its routes share."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from marshmallow import Schema

from api.apis.fields import (
    PLAIN,
    WITHOUT_EFFECT,
    EmbedOptionsSchema,
    Inputs,
    Loader,
    Text,
    TruncationSchema,
    embed_key,
    tei_key,
)
from api.apis.query import Body, Bounds, Query
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError, error_body
from batching.key import Task

if TYPE_CHECKING:
    from collections.abc import Container

    from batching.call import Call, Item
    from batching.errors import ProxyError

#: What a schema says of a member that is not there.
REQUIRED: dict[str, Any] = {"required": "is missing"}
_EMPTY = "Input validation error: `inputs` cannot be empty"
#: Options of ``/embed`` that TEI reads over on its other routes.
_OF_EMBED = WITHOUT_EFFECT | {"normalize", "dimensions"}

_first = itemgetter(0)
_OPENING = ord("[")


class TeiInputs(Inputs):
    """Inputs of which TEI finds an empty list as wrong as a list with an empty text."""

    def _without_any(self, attr: str | None) -> Exception:  # noqa: ARG002
        return self.make_error("empty")


class TeiInputsSchema(Schema):
    """Where the inputs stand in a body."""

    inputs = TeiInputs()


class TeiEmbedSchema(EmbedOptionsSchema):
    """A body of ``/embed`` in TEI's form only."""

    inputs = TeiInputs(required=True, error_messages=REQUIRED)


class EmbedAllSchema(TruncationSchema):
    """The body of ``POST /embed_all`` and ``POST /embed_sparse``."""

    inputs = TeiInputs(required=True, error_messages=REQUIRED)
    prompt_name = Text(allow_none=True)


class TeiApi:
    """TEI's routes; our errors have TEI's form and a ``request_id`` beside it."""

    prefixes: tuple[str, ...] = (
        *("/embed", "/predict", "/rerank", "/similarity", "/tokenize", "/decode", "/invocations", "/info"),
    )
    suffixes: tuple[str, ...] = ()

    def status(self, error: ProxyError) -> int:
        return error.status

    def error(self, error: ProxyError, identity: str) -> bytes:
        return error_body(error.message, error.error_type, identity)


_embed = Loader(TeiEmbedSchema())
_embed_all = Loader(EmbedAllSchema())
_embed_all_options = frozenset(EmbedAllSchema().fields)


def read_embed(body: Body, bounds: Bounds) -> Query:
    """Read a body of ``/embed`` in TEI's form; raises ``RequestError``."""
    return query(load(_embed, body, bounds.items))


def read_embed_all(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/embed_all``; raises ``RequestError``."""
    return _other_query(Task.EMBED_ALL, body, bounds)


def read_embed_sparse(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/embed_sparse``; raises ``RequestError``."""
    return _other_query(Task.EMBED_SPARSE, body, bounds)


def query(members: Body) -> Query:
    """Turn the checked members of a body of ``/embed`` into a query."""
    items, _ = members.pop("inputs")
    return Query(embed_key(members) if members else PLAIN, items, list_of_results, _has_token_ids(items))


def load(loader: Loader, body: Body, most: int, *, empty: str = _EMPTY) -> Body:
    """Check a body, with ``most`` items at most. Raises ``RequestError`` in TEI's statuses and words."""
    try:
        return loader.load(body, most)
    except WrongFieldsError as problem:
        raise refusal(problem, empty) from problem.__cause__


def refusal(problem: WrongFieldsError, empty: str = _EMPTY) -> RequestError:
    """Return the error as TEI's clients know it.

    An empty input is 400 in TEI's words, where all types are right. Half of a surrogate pair is 400, as JSON is that
    TEI cannot read.
    """
    if problem.has_half_a_pair:
        return RequestError(400, problem.message)
    if problem.all_empty:
        return RequestError(400, empty, error_type="Empty")
    return problem


def duplicate_status(names: Container[str]) -> int:
    """Return the status for a body of ``/embed`` in which a name stands twice: 422, or 400 where it is not TEI's."""
    return 422 if "inputs" in names else 400


def list_of_results(call: Call) -> bytes:
    """Return the array of the results as the upstream wrote them."""
    return b"[" + b",".join(call.results) + b"]"


def _other_query(task: Task, body: Body, bounds: Bounds) -> Query:
    members = load(_embed_all, body, bounds.items)
    items, _ = members.pop("inputs")
    key = tei_key(task, members, _embed_all_options, _OF_EMBED)
    return Query(key, items, list_of_results, _has_token_ids(items))


def _has_token_ids(items: list[Item]) -> bool:
    return items[0][0] == _OPENING if len(items) == 1 else _OPENING in map(_first, items)
