"""Checks TEI's bodies as strictly as TEI does: a string is not a number, and 1 is not true."""

from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

EmbedInput = str | list[int]
_U32_END = 2**32
_DIRECTIONS = validate.OneOf(["Right", "Left", "right", "left"])


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """One request for vectors, of the right types. `inputs` holds texts and lists of token ids."""

    inputs: list[EmbedInput]
    truncate: bool = True
    truncation_direction: str = "right"
    prompt_name: str | None = None
    normalize: bool = True
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class SimilarityRequest:
    """One `/similarity` request of the right types."""

    source_sentence: str
    sentences: list[str]
    parameters: dict[str, Any]

    def as_embed_request(self) -> EmbedRequest:
        """Return the request for the vectors whose cosines are asked for, the source's first."""
        return EmbedRequest([self.source_sentence, *self.sentences], normalize=False, **self.parameters)


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """One `/tokenize` request of the right types."""

    inputs: list[str]
    add_special_tokens: bool
    prompt_name: str | None


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One `/decode` request of the right types."""

    ids: list[list[int]]
    skip_special_tokens: bool


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


class TextsField(fields.Field[list[str]]):
    """A text, or a list of texts."""

    default_error_messages = {"invalid": "expected a string or an array of strings"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return value
        raise self.make_error("invalid")


class IdsField(fields.Field[list[list[int]]]):
    """A list of token ids, or a list of such lists. `[]` is one list of token ids."""

    default_error_messages = {"invalid": "expected an array of token ids (u32) or an array of such arrays"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[list[int]]:  # noqa: ARG002
        if _is_ids(value):
            return [value]
        if isinstance(value, list) and all(map(_is_ids, value)):
            return value
        raise self.make_error("invalid")


class StrictBoolean(fields.Field[bool]):
    """true or false; numbers and strings are refused."""

    default_error_messages = {"invalid": "expected a boolean"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:  # noqa: ARG002
        if isinstance(value, bool):
            return value
        raise self.make_error("invalid")


class ParametersSchema(Schema):
    """How an input is made into tokens; fields that are not known are ignored, as TEI ignores them."""

    class Meta:
        unknown = EXCLUDE

    truncate = StrictBoolean(load_default=True, allow_none=True)
    truncation_direction = fields.String(load_default="Right", validate=_DIRECTIONS)
    prompt_name = fields.String(load_default=None, allow_none=True)

    @post_load
    def _mend(self, data: dict[str, Any], **_: Any) -> Any:
        data["truncate"] = data["truncate"] is not False  # null means the server's default, which is true
        data["truncation_direction"] = data["truncation_direction"].lower()
        return self._build(data)

    def _build(self, data: dict[str, Any]) -> Any:
        return data


class EmbedAllSchema(ParametersSchema):
    """The body of `/embed_all`."""

    inputs = InputsField(required=True)

    def _build(self, data: dict[str, Any]) -> EmbedRequest:
        return EmbedRequest(**data)


class EmbedRequestSchema(EmbedAllSchema):
    """The body of `/embed`, with TEI's defaults."""

    normalize = StrictBoolean(load_default=True)
    dimensions = fields.Integer(load_default=None, allow_none=True, strict=True)


class PairsField(fields.Field[list[list[str]]]):
    """A text, a pair of texts, or a list of lists of one or two texts."""

    default_error_messages = {
        "invalid": "expected a string, a pair of strings [string, string] or a batch of mixed strings and pairs"
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[list[str]]:  # noqa: ARG002
        for batch in ([[value]], [value], value):
            if isinstance(batch, list) and batch and all(map(_is_one_or_two, batch)):
                return batch
        raise self.make_error("invalid")


def _is_one_or_two(value: object) -> bool:
    return isinstance(value, list) and len(value) in {1, 2} and all(isinstance(text, str) for text in value)


class PredictSchema(Schema):
    """The body of `/predict`."""

    class Meta:
        unknown = EXCLUDE

    inputs = PairsField(required=True)
    truncate = StrictBoolean(allow_none=True)
    truncation_direction = fields.String(validate=_DIRECTIONS)
    raw_scores = StrictBoolean()


class RerankSchema(Schema):
    """The body of `/rerank`."""

    class Meta:
        unknown = EXCLUDE

    query = fields.String(required=True)
    texts = fields.List(fields.String(), required=True)
    truncate = StrictBoolean(allow_none=True)
    truncation_direction = fields.String(validate=_DIRECTIONS)
    raw_scores = StrictBoolean()
    return_text = StrictBoolean()


class _SentencesSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    source_sentence = fields.String(required=True)
    sentences = fields.List(fields.String(), required=True)


class SimilaritySchema(Schema):
    """The body of `/similarity`."""

    class Meta:
        unknown = EXCLUDE

    inputs = fields.Nested(_SentencesSchema, required=True)
    parameters = fields.Nested(ParametersSchema, load_default=dict, allow_none=True)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> SimilarityRequest:
        return SimilarityRequest(**data["inputs"], parameters=data["parameters"] or {})


class TokenizeSchema(Schema):
    """The body of `/tokenize`."""

    class Meta:
        unknown = EXCLUDE

    inputs = TextsField(required=True)
    add_special_tokens = StrictBoolean(load_default=True)
    prompt_name = fields.String(load_default=None, allow_none=True)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> TokenizeRequest:
        return TokenizeRequest(**data)


class DecodeSchema(Schema):
    """The body of `/decode`."""

    class Meta:
        unknown = EXCLUDE

    ids = IdsField(required=True)
    skip_special_tokens = StrictBoolean(load_default=True)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> DecodeRequest:
        return DecodeRequest(**data)


def flatten(error: ValidationError) -> str:
    """Return marshmallow's messages as one line: `inputs: Missing data for required field.`"""
    return "; ".join(_lines(error.messages_dict if isinstance(error.messages, dict) else {"_schema": error.messages}))


def _lines(messages: dict[Any, Any], path: str = "") -> list[str]:
    lines: list[str] = []
    for field, found in sorted(messages.items(), key=lambda pair: str(pair[0])):
        where = path if field == "_schema" else f"{path}.{field}".lstrip(".")
        if isinstance(found, dict):
            lines += _lines(found, where)
        else:
            words = " ".join(map(str, found))
            lines.append(f"{where}: {words}" if where else words)
    return lines
