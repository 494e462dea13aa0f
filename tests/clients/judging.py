"""Judges what a client got: its vectors have to be those that ``POST /embed`` answers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: How far a number may lie from ``/embed``'s: what shares a pass of the model may change the last bits.
TOLERANCE = 2e-6

Vector = list[float]

# Where the vectors stand in an answer that a driver passed on as it came.
_FORMS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda answer: answer,
    "embeddings": lambda answer: answer["embeddings"],
    "predictions": lambda answer: answer["predictions"],
    "data": lambda answer: [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])],
}


def problems(told: Sequence[Mapping[str, Any]], reference: Callable[[Any, Mapping[str, Any]], Vector]) -> list[str]:
    """Return what is wrong with the cases that a driver told, a line each; none if all is right."""
    lines = [f"{each['case']}: {found}" for each in told if (found := _problem(each, reference))]
    return [*lines, *_uneven(told)]


def _problem(told: Mapping[str, Any], reference: Callable[[Any, Mapping[str, Any]], Vector]) -> str:
    if "error" in told:
        return str(told["error"])
    if "texts" not in told:
        return ""
    texts, options = told["texts"], told.get("options", {})
    try:
        vectors = _FORMS[told["form"]](told["answer"]) if "form" in told else told["vectors"]
    except (KeyError, TypeError):
        return f"no vectors in {str(told['answer'])[:200]}"
    if len(vectors) != len(texts):
        return f"{len(vectors)} vectors for {len(texts)} texts"
    for position, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        expected = reference(text, options)
        if not isinstance(vector, list) or len(vector) != len(expected):
            return f"text {position}: no vector of {len(expected)} numbers: {str(vector)[:80]}"
        if told.get("scaled"):
            vector, expected = _unit(vector), _unit(expected)  # noqa: PLW2901
        if (off := max(abs(a - b) for a, b in zip(vector, expected, strict=True))) > TOLERANCE:
            return f"text {position}: differs from /embed by {off:.2g}"
    return ""


def _uneven(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the cases that got other bits than the first one with the same word in ``bits``."""
    first: dict[str, tuple[str, bytes]] = {}
    lines = []
    for each in told:
        if (word := each.get("bits")) and "vectors" in each:
            case, bits = each["case"], b"".join(struct.pack(f"<{len(row)}f", *row) for row in each["vectors"])
            known, expected = first.setdefault(word, (case, bits))
            if bits != expected:
                lines.append(f"{case}: other bits than {known}")
    return lines


def _unit(vector: Vector) -> Vector:
    length = sum(number * number for number in vector) ** 0.5
    return [number / length for number in vector]
