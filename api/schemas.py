"""The marshmallow shapes of request bodies: what is valid, and what it means to the engine."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from api.error_forms import RequestError
from batching import BatchKey, Item

#: Token ids are 32-bit in every tokenizer that upstreams use, and in TEI's contract.
MAX_TOKEN_ID = 2**32 - 1

#: Bytes of all options together: they are kept with each batch key, and stand in each upstream call.
MAX_OPTION_BYTES = 4096

_to_json = msgspec.json.Encoder(order="deterministic").encode


class EmbedQuery(NamedTuple):
    """A valid ``/embed`` request: its items, their key, and the shape in which the answer is due."""

    items: list[Item]
    key: BatchKey
    shape: Literal["one", "many", "tei"]


class Inputs(fields.Field[Any]):
    """A text, a list of token ids, or a list of either; loads as (items, whether it was a list of inputs)."""

    default_error_messages = {
        "type": "must be a text, a list of texts, or a list of token ids",
        "item": "must be a text or a list of token ids",
        "empty": "must not be empty",
        "token": f"must hold token ids from 0 to {MAX_TOKEN_ID} only",
        "surrogate": "holds half of a surrogate pair, which is not a character",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:  # noqa: ARG002
        if isinstance(value, str):
            return [self._text(value)], False
        if not isinstance(value, list):
            raise self.make_error("type")
        if not value:
            raise RequestError(400, f"`{attr}` must not be empty", error_type="Empty")
        if type(value[0]) is int:
            return [self._tokens(value)], False
        return self._many(value), True

    def _many(self, values: list[Any]) -> list[Item]:
        items = []
        for position, value in enumerate(values):
            try:
                if isinstance(value, str):
                    items.append(self._text(value))
                elif isinstance(value, list):
                    items.append(self._tokens(value))
                else:
                    raise self.make_error("item")
            except ValidationError as problem:
                raise ValidationError({position: problem.messages}) from problem
        return items

    def _text(self, text: str) -> Item:
        if not text:
            raise self.make_error("empty")
        try:
            return _to_json(text)
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None

    def _tokens(self, ids: list[Any]) -> Item:
        if not ids:
            raise self.make_error("empty")
        if not all(type(token) is int and 0 <= token <= MAX_TOKEN_ID for token in ids):
            raise self.make_error("token")
        return _to_json(ids)


class StrictBoolean(fields.Field[bool]):
    """true or false; not "true", 1 or "on"."""

    default_error_messages = {"type": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise self.make_error("type")
        return value


class StrictInteger(fields.Field[int]):
    """A JSON integer; not 3.0, "3" or true."""

    default_error_messages = {"type": "must be an integer"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:  # noqa: ARG002
        if type(value) is not int:
            raise self.make_error("type")
        return value


class EmbedSchema(Schema):
    """``POST /embed``: TEI's body, and the short form with ``input``.

    Unknown members are kept: they may mean something to the upstream, so they join the batch key.
    """

    class Meta:
        unknown = INCLUDE

    input = Inputs()
    inputs = Inputs()
    normalize = StrictBoolean()
    truncate = StrictBoolean(allow_none=True)
    truncation_direction = fields.String(
        validate=validate.OneOf(["Left", "Right", "left", "right"], error="must be Left or Right")
    )
    prompt_name = fields.String(allow_none=True)
    dimensions = StrictInteger(
        allow_none=True, validate=validate.Range(min=1, max=1_000_000, error="must be between 1 and 1000000")
    )


_embed_schema = EmbedSchema()
_PLAIN = BatchKey("/embed")


#: A body that holds its inputs and nothing else, as most do, needs no look at the fields that it lacks.
_INPUT_FIELDS = {name: _embed_schema.fields[name] for name in ("input", "inputs")}


def load_embed_query(body: dict[str, Any], max_client_batch_size: int) -> EmbedQuery:
    """Validate an ``/embed`` body; raises ``RequestError`` with status 422 that names each wrong field."""
    try:
        members = _load_members(body)
    except ValidationError as problem:
        raise RequestError(422, _sentence(problem.messages), error_type="Validation") from problem
    if ("input" in members) == ("inputs" in members):
        raise RequestError(422, "give either `input` or `inputs`", error_type="Validation")
    is_tei = "inputs" in members
    items, is_list = members.pop("inputs" if is_tei else "input")
    if len(items) > max_client_batch_size:
        message = f"batch size {len(items)} > maximum allowed batch size {max_client_batch_size}"
        raise RequestError(422, message, error_type="Validation")
    shape: Literal["one", "many", "tei"] = "tei" if is_tei else "many" if is_list else "one"
    return EmbedQuery(items, _key(members) if members else _PLAIN, shape)


def _load_members(body: dict[str, Any]) -> dict[str, Any]:
    if len(body) == 1:
        name, value = next(iter(body.items()))
        if name in _INPUT_FIELDS:
            try:
                return {name: _INPUT_FIELDS[name].deserialize(value, name, body)}
            except ValidationError as problem:
                raise ValidationError({name: problem.messages}) from problem
    members: dict[str, Any] = _embed_schema.load(body)
    return members


def _key(options: dict[str, Any]) -> BatchKey:
    """Make the batch key of these options; those that say what holds anyway change nothing."""
    if "truncation_direction" in options:
        options["truncation_direction"] = options["truncation_direction"].capitalize()
    told = {
        name: value
        for name, value in options.items()
        if not (
            (name == "normalize" and value is True)
            or (name == "truncation_direction" and value == "Right")
            or (value is None and name in _embed_schema.fields)
        )
    }
    if not told:
        return _PLAIN
    try:
        members = _to_json(told)[1:-1]
    except UnicodeEncodeError as problem:
        raise RequestError(422, "an option holds half of a surrogate pair", error_type="Validation") from problem
    if len(members) > MAX_OPTION_BYTES:
        message = f"the options beside the inputs take {len(members)} bytes, more than {MAX_OPTION_BYTES}"
        raise RequestError(422, message, error_type="Validation")
    return BatchKey("/embed", b"," + members)


def _sentence(messages: Any, path: str = "") -> str:
    """Flatten marshmallow's tree of messages: ``inputs[3]: must not be empty; normalize: must be …``."""
    if isinstance(messages, dict):
        parts = []
        for name, below in messages.items():
            step = f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
            parts.append(_sentence(below, path + step))
        return "; ".join(parts)
    return f"{path}: {' '.join(messages)}".replace("Not a valid string.", "must be a text").replace(
        "Field may not be null.", "must not be null"
    )
