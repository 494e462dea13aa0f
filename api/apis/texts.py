"""What APIs share whose inputs are texts alone: their fields, how a body is checked, a call's vectors and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from api.apis.fields import Inputs
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError
from batching.errors import UpstreamProtocolError
from formats.floats import as_base64, as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from marshmallow import Schema

    from batching.call import Call, Item

#: Bytes of text that are taken for one token where the upstream counts none.
BYTES_A_TOKEN = 4
_OPENING = ord("[")


class Texts(Inputs):
    """A text or a list of texts; loads as (items, whether it was a list)."""

    takes_ids = False
    default_error_messages = {"type": "must be a text or a list of texts", "item": "must be a text"}

    def _tokens(self, ids: list[Any]) -> Item:  # noqa: ARG002
        raise self.make_error("item")


def load(schema: Schema, body: dict[str, Any], lists: dict[str, int]) -> dict[str, Any]:
    """Return those members of the body that the schema knows, checked and loaded.

    Raises ``WrongFieldsError``, which names each wrong field, or ``RequestError``. ``lists``: the members that hold
    inputs, each with how many there may be; they are counted before they are looked at.
    """
    for name, most in lists.items():
        check_count(body.get(name), most)
    members: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    # The fields are asked one by one: for a small body, the schema's own ``load`` takes longer than all of them.
    for name, field in schema.fields.items():
        if name in body:
            try:
                members[name] = field.deserialize(body[name], name, body)
            except ValidationError as problem:
                wrong[name] = problem.messages
    if wrong:
        raise WrongFieldsError.of(wrong)
    return members


def check_count(values: object, most: int) -> None:
    """Raise ``RequestError`` where this is a list of more than ``most`` values."""
    if isinstance(values, list) and len(values) > most:
        raise RequestError(400, f"batch size {len(values)} > maximum allowed batch size {most}")


def vectors(call: Call, form: Callable[[bytes], bytes] = as_numbers) -> bytes:
    """Return the call's vectors, separated by commas, in a form of ``formats.floats``.

    Raises ``UpstreamProtocolError`` for a vector that has no such form.
    """
    try:
        return b",".join(map(form, call.results))
    except ValueError as problem:
        raise UpstreamProtocolError(f"a vector of the upstream cannot be told in this form: {problem}") from problem


def quoted_base64(result: bytes) -> bytes:
    """Return a vector as a JSON text of base64; raises ``ValueError``."""
    return b'"' + as_base64(result) + b'"'


def tokens(call: Call) -> int:
    """Return how many tokens the upstream counted, or an estimate where it counts none."""
    return estimated_tokens(call.items) if call.tokens is None else call.tokens


def estimated_tokens(items: Sequence[Item]) -> int:
    """Return about how many tokens these items are: the ids of a list, and a text's bytes by ``BYTES_A_TOKEN``.

    Each text counts by itself, rounded up.
    """
    count = 0
    for item in items:
        if item[0] == _OPENING:
            count += item.count(b",") + 1
        else:
            count += -(-(len(item) - 2) // BYTES_A_TOKEN)  # without its quotes
    return count
