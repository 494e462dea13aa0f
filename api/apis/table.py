"""Which route reads which body, and in whose form the errors of a path are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.apis import native, tei
from api.apis.fields import EmbedOptionsSchema, Loader
from api.apis.query import Api, Body, Bounds, Query, Route
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence


class EmbedSchema(EmbedOptionsSchema, tei.TeiInputsSchema, native.NativeInputSchema):
    """``POST /embed``: TEI's body, and the short form with ``input``. Errors name the last base's fields first."""


_embed = Loader(EmbedSchema())


def read_embed(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/embed``, which two APIs share; raises ``RequestError``."""
    try:
        members = _embed.load(body, bounds.items)
        if ("input" in members) == ("inputs" in members):
            raise RequestError(422, "give either `input` or `inputs`")
        return tei.query(members) if "inputs" in members else native.query(members)
    except WrongFieldsError as problem:
        raise (tei.refusal(problem) if "inputs" in body else problem) from problem.__cause__


ROUTES: Sequence[Route] = (Route("/embed", read_embed, EmbedSchema, tei.duplicate_status),)

APIS: Sequence[Api] = (native.NativeApi(), tei.TeiApi())


def api_of(path: str) -> Api:
    """Return the API whose prefix is the longest that the path begins with."""
    matches = [(len(prefix), at) for at, api in enumerate(APIS) for prefix in api.prefixes if path.startswith(prefix)]
    return APIS[max(matches)[1]]
