"""Reads the list of models that servers of OpenAI's API have."""

from __future__ import annotations

from typing import Any, NamedTuple

from upstream.dialects.relaying import MAX_RELAYED_TEXT, plain
from upstream.dialects.words import decoded

#: Models of one server that are told on: gateways list some hundred.
MAX_MODELS = 1000
#: Inputs of one call that infinity takes, whatever its model: its validation has that number.
_INFINITY_TAKES = 2048


class Models(NamedTuple):
    """What a server says of its models."""

    #: The names that a request may have.
    names: tuple[str, ...]
    #: The name of the only one that gives vectors; None where there are several, or none is told.
    only: str | None
    #: Inputs of one call.
    most_items: int | None = None


def models_of(body: bytes) -> Models | None:
    """Return what the answer to ``GET …/models`` says; None if it is no list of models."""
    said = decoded(body)
    listed = said.get("data") or said.get("models") if isinstance(said, dict) else said
    if not isinstance(listed, list):
        return None
    models = [each for each in listed[:MAX_MODELS] if isinstance(each, dict) and _name(each)]
    names = tuple(dict.fromkeys(_name(each) for each in models))
    bases = [_name(each) for each in models if not each.get("parent") and _embeds(each)]
    is_infinity = any(each.get("owned_by") == "infinity" for each in models)
    return Models(names, bases[0] if len(set(bases)) == 1 else None, _INFINITY_TAKES if is_infinity else None)


def _name(model: dict[str, Any]) -> str:
    """Return a model's name; empty where it has none that can stand in a line."""
    name = model.get("id", model.get("name"))  # the latter in llama-server's own list
    return name if isinstance(name, str) and len(name) < MAX_RELAYED_TEXT and plain(name) == name else ""


def _embeds(model: dict[str, Any]) -> bool:
    """Whether a model may give vectors: infinity says of each what it can do, and may have one that reranks."""
    can = model.get("capabilities")
    return not (model.get("owned_by") == "infinity" and isinstance(can, list) and "embed" not in can)
