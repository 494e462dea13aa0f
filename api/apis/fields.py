"""The marshmallow fields that several APIs share, and how a body is checked against a schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from api.error_forms import RequestError
from batching.key import BatchKey, Options, Task

if TYPE_CHECKING:
    from batching.call import Item

#: Token ids are 32-bit in every tokenizer that upstreams use, and in TEI's contract.
MAX_TOKEN_ID = 2**32 - 1
#: Bytes of all options together: they are kept with each batch key, and stand in each upstream call.
MAX_OPTION_BYTES = 4096

_NULL = "must not be null"
_to_json = msgspec.json.Encoder(order="deterministic").encode


class Inputs(fields.Field[Any]):
    """A text, a list of token ids, or a list of either; loads as (items, whether it was a list of inputs)."""

    default_error_messages = {
        "null": _NULL,
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

    default_error_messages = {"null": _NULL, "type": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise self.make_error("type")
        return value


class StrictInteger(fields.Field[int]):
    """A JSON integer; not 3.0, "3" or true."""

    default_error_messages = {"null": _NULL, "type": "must be an integer"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:  # noqa: ARG002
        if type(value) is not int:
            raise self.make_error("type")
        return value


class Text(fields.String):
    """A JSON string."""

    default_error_messages = {"null": _NULL, "invalid": "must be a text"}


class EmbedOptionsSchema(Schema):
    """The options of an embedding beside its inputs, under TEI's names.

    Unknown members are kept: they may mean something to the upstream, so they join the batch key.
    """

    class Meta:
        unknown = INCLUDE

    normalize = StrictBoolean()
    truncate = StrictBoolean(allow_none=True)
    truncation_direction = Text(
        validate=validate.OneOf(["Left", "Right", "left", "right"], error="must be Left or Right")
    )
    prompt_name = Text(allow_none=True)
    dimensions = StrictInteger(
        allow_none=True, validate=validate.Range(min=1, max=1_000_000, error="must be between 1 and 1000000")
    )


_OPTIONS = frozenset(EmbedOptionsSchema().fields)
#: The key of a body without options.
PLAIN = BatchKey(Task.EMBED)


class Loader:
    """Checks bodies against one schema. A body that holds its inputs and nothing else skips the other fields."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._inputs = {name: field for name, field in schema.fields.items() if isinstance(field, Inputs)}

    def load(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the checked members; raises ``RequestError`` with status 422 that names each wrong field."""
        try:
            if len(body) == 1:
                name, value = next(iter(body.items()))
                if (field := self._inputs.get(name)) is not None:
                    return {name: _load_one(field, name, value, body)}
            members: dict[str, Any] = self._schema.load(body)
        except ValidationError as problem:
            raise RequestError(422, _sentence(problem.messages), error_type="Validation") from problem
        return members


def too_many(items: list[Item], most: int) -> RequestError:
    """Return the error of a request that asks for more than ``most`` items."""
    return RequestError(422, f"batch size {len(items)} > maximum allowed batch size {most}", error_type="Validation")


def embed_key(options: dict[str, Any]) -> BatchKey:
    """Return the batch key of these checked options; options that say what holds anyway change nothing."""
    if "truncation_direction" in options:
        options["truncation_direction"] = options["truncation_direction"].lower()
    told = {name: value for name, value in options.items() if not _is_default(name, value)}
    if not told:
        return PLAIN
    try:
        size = len(_to_json(told)) - 2
        more = tuple(sorted((name, _to_json(value)) for name, value in told.items() if name not in _OPTIONS))
    except UnicodeEncodeError as problem:
        raise RequestError(422, "an option holds half of a surrogate pair", error_type="Validation") from problem
    if size > MAX_OPTION_BYTES:
        message = f"the options beside the inputs take {size} bytes, more than {MAX_OPTION_BYTES}"
        raise RequestError(422, message, error_type="Validation")
    known = {name: value for name, value in told.items() if name in _OPTIONS}
    return BatchKey(Task.EMBED, Options(**known, more=more))


def _is_default(name: str, value: Any) -> bool:
    return (
        (name == "normalize" and value is True)
        or (name == "truncation_direction" and value == "right")
        or (value is None and name in _OPTIONS)
    )


def _load_one(field: fields.Field[Any], name: str, value: Any, body: dict[str, Any]) -> Any:
    try:
        return field.deserialize(value, name, body)
    except ValidationError as problem:
        raise ValidationError({name: problem.messages}) from problem


def _sentence(messages: Any, path: str = "") -> str:
    """Flatten marshmallow's tree of messages: ``inputs[3]: must not be empty; normalize: must be …``."""
    if isinstance(messages, dict):
        parts = []
        for name, below in messages.items():
            step = f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
            parts.append(_sentence(below, path + step))
        return "; ".join(parts)
    return f"{path}: {' '.join(messages)}"
