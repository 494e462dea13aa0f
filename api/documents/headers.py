"""The headers by which a client ranks its request, for the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from api.ranks import CLASSES, FAIRNESS_HEADER, MAX_WAIT_HEADER, PRIORITY_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = dict[str, Any]


class Parameter(NamedTuple):
    """One header of a request: its name, what people read of it, and what its value may be."""

    name: str
    text: str
    shape: Shape


#: By the name under which the document's components hold them.
PARAMETERS: Mapping[str, Parameter] = {
    "Priority": Parameter(
        PRIORITY_HEADER,
        "Whether a person waits for the answer, or it may take the places that interactive requests leave. Unset, a "
        "request of many inputs is bulk. A client whose key is of class bulk is bulk whatever it asks for.",
        {"type": "string", "enum": [*CLASSES]},
    ),
    "MaxWait": Parameter(
        MAX_WAIT_HEADER,
        "Longest that the request may be held back for a fuller batch, in milliseconds. 0: not at all. What is longer "
        "than the service allows is cut.",
        {"type": "integer", "minimum": 0},
    ),
    "FairnessId": Parameter(
        FAIRNESS_HEADER,
        "Which requests without a client's key of their own belong together. It has an effect only where the service "
        "is told to trust it.",
        {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    ),
}
