"""Text Embeddings Inference's form: ``{"inputs": …}`` in, ``[[…], …]`` out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import Schema

from api.apis.fields import PLAIN, Inputs, embed_key
from api.apis.query import Body, Query
from api.error_forms import RequestError, error_body

if TYPE_CHECKING:
    from collections.abc import Container

    from api.apis.wrong_fields import WrongFieldsError
    from batching.call import Call
    from batching.errors import ProxyError

_EMPTY = "Input validation error: `inputs` cannot be empty"


class TeiInputs(Inputs):
    """Inputs of which TEI finds an empty list as wrong as a list with an empty text."""

    def _without_any(self, attr: str | None) -> Exception:  # noqa: ARG002
        return self.make_error("empty")


class TeiInputsSchema(Schema):
    """Where the inputs stand in a body."""

    inputs = TeiInputs()


class TeiApi:
    """TEI's routes; our errors have TEI's form and a ``request_id`` beside it."""

    prefixes: tuple[str, ...] = ("/embed",)

    def error(self, error: ProxyError, identity: str) -> bytes:
        return error_body(error.message, error.error_type, identity)


def query(members: Body) -> Query:
    """Turn the checked members of a body into a query."""
    items, _ = members.pop("inputs")
    return Query(embed_key(members) if members else PLAIN, items, _vectors)


def refusal(problem: WrongFieldsError) -> RequestError:
    """Return the error as TEI's clients know it.

    An empty input is 400 in TEI's words, where all types are right. Half of a surrogate pair is 400, as JSON is that
    TEI cannot read.
    """
    if problem.has_half_a_pair:
        return RequestError(400, problem.message)
    if problem.all_empty:
        return RequestError(400, _EMPTY, error_type="Empty")
    return problem


def duplicate_status(names: Container[str]) -> int:
    """Return the status for a body in which a name stands twice: TEI's 422 where the body is TEI's, else 400."""
    return 422 if "inputs" in names else 400


def _vectors(call: Call) -> bytes:
    return b"[" + b",".join(call.results) + b"]"
