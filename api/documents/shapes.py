"""The JSON Schema of each marshmallow field of ours, for which apispec knows none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.apis import cohere, ollama, openai, tei, tei_predict, tei_rerank, tei_texts, texts
from api.apis import fields as shared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apispec.ext.marshmallow.openapi import OpenAPIConverter
    from marshmallow import fields

Shape = dict[str, Any]

_TEXT: Shape = {"type": "string", "minLength": 1}
_ANY_TEXT: Shape = {"type": "string"}
_ID: Shape = {"type": "integer", "minimum": 0, "maximum": shared.MAX_TOKEN_ID}


def _list_of(shape: Shape, **more: int) -> Shape:
    return {"type": "array", "items": shape, "minItems": 1, **more}


_IDS = _list_of(_ID)
_INPUTS: Shape = {"anyOf": [_TEXT, _IDS, _list_of({"anyOf": [_TEXT, _IDS]})]}
_SEQUENCE = _list_of(_ANY_TEXT, maxItems=2)
_PART: Shape = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": _TEXT},
}
_CONTENT: Shape = {
    "type": "object",
    "required": ["content"],
    "properties": {"content": _list_of(_PART, maxItems=1)},
}

#: The most telling class first: a field takes the shape of the first that it is an instance of.
_SHAPES: Mapping[type[fields.Field[Any]], Shape] = {
    tei_predict.Sequences: {"anyOf": [_TEXT, _SEQUENCE, _list_of(_SEQUENCE)]},
    tei_rerank.Texts: _list_of(_ANY_TEXT),
    tei_rerank.JsonText: _ANY_TEXT,
    tei_texts.TokenIds: {"anyOf": [_IDS, _list_of(_IDS)]},
    tei_texts.OneOrMoreTexts: {"anyOf": [_TEXT, _list_of(_TEXT)]},
    cohere.ListOfTexts: _list_of(_TEXT),
    cohere.Contents: _list_of(_CONTENT),
    cohere.Forms: {"type": "array", "items": {"enum": ["float", "base64"]}},
    cohere.NotServed: {"type": "array", "maxItems": 0},
    ollama.OneText: _ANY_TEXT,
    texts.Texts: {"anyOf": [_ANY_TEXT, {"type": "array", "items": _TEXT}]},
    openai.OpenAiInputs: _INPUTS,
    tei.TeiInputs: _INPUTS,
    shared.Inputs: _INPUTS,
}
_TYPES = {shared.StrictBoolean: "boolean", shared.StrictInteger: "integer"}


def teach(converter: OpenAPIConverter) -> None:
    """Let apispec's converter know our fields."""
    for kind, name in _TYPES.items():
        converter.map_to_openapi_type(kind, name, None)  # type: ignore[no-untyped-call]
    converter.add_attribute_function(_attributes)  # type: ignore[no-untyped-call]


def shape(field: fields.Field[Any]) -> Shape:
    """Return the schema of a field of ours; empty for one that is marshmallow's own."""
    told = next((of for kind, of in _SHAPES.items() if isinstance(field, kind)), {})
    if not told or not field.allow_none:
        return told
    if "anyOf" in told:
        return {**told, "anyOf": [*told["anyOf"], {"type": "null"}]}
    return {**told, "type": [told["type"], "null"]}


def _attributes(_: OpenAPIConverter, field: fields.Field[Any], **__: Any) -> Shape:
    return shape(field)
