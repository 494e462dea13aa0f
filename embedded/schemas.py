"""Checks TEI's `/embed` body as strictly as TEI does: a string is not a number, and 1 is not true."""

from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, post_load, validate

EmbedInput = str | list[int]
_U32_END = 2**32


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """One `/embed` request of the right types. `inputs` holds texts and lists of token ids."""

    inputs: list[EmbedInput]
    truncate: bool
    truncation_direction: str
    prompt_name: str | None
    normalize: bool
    dimensions: int | None


def _is_input(value: object) -> bool:
    return isinstance(value, str) or _is_ids(value)


def _is_ids(value: object) -> bool:
    # `type(...) is int`, because True is an int too.
    return isinstance(value, list) and all(type(token) is int and 0 <= token < _U32_END for token in value)


class InputsField(fields.Field[list[EmbedInput]]):
    """A text, a list of token ids, or a list of either. `[1, 2]` and `[]` are one list of token ids."""

    default_error_messages = {"invalid": "expected a string, an array of token ids (u32) or an array of either"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[EmbedInput]:  # noqa: ARG002
        if _is_input(value):
            return [value]
        if isinstance(value, list) and all(map(_is_input, value)):
            return value
        raise self.make_error("invalid")


class StrictBoolean(fields.Field[bool]):
    """true or false; numbers and strings are refused."""

    default_error_messages = {"invalid": "expected a boolean"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:  # noqa: ARG002
        if isinstance(value, bool):
            return value
        raise self.make_error("invalid")


class EmbedRequestSchema(Schema):
    """TEI's body and defaults; fields it does not know are ignored, as TEI ignores them."""

    class Meta:
        unknown = EXCLUDE

    inputs = InputsField(required=True)
    truncate = StrictBoolean(load_default=True, allow_none=True)
    truncation_direction = fields.String(
        load_default="Right", validate=validate.OneOf(["Right", "Left", "right", "left"])
    )
    prompt_name = fields.String(load_default=None, allow_none=True)
    normalize = StrictBoolean(load_default=True)
    dimensions = fields.Integer(load_default=None, allow_none=True, strict=True)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> EmbedRequest:
        data["truncate"] = data["truncate"] is not False  # null means the server's default, which is true
        data["truncation_direction"] = data["truncation_direction"].lower()
        return EmbedRequest(**data)
