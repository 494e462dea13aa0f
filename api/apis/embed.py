"""``POST /embed``, whose body may be TEI's or the proxy's own short form."""

from __future__ import annotations

from api.apis import native, tei
from api.apis.fields import EmbedOptionsSchema, Loader
from api.apis.query import Body, Bounds, Query, Route
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError


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


ROUTES = (Route("/embed", read_embed, EmbedSchema, tei.duplicate_status, no_object_status=422),)
