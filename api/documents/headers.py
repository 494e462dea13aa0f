"""The headers of requests and answers, for the document: by which a client ranks, and what it is told."""

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


#: Of every request, and of those whose inputs are batched; by the name under which the document's components hold them.
DEADLINE: Mapping[str, Parameter] = {
    "RequestTimeout": Parameter(
        "X-Request-Timeout-Ms",
        "Milliseconds for which the client waits, if that is less than the service's own time-out. After that the "
        "answer is 504.",
        {"type": "integer", "minimum": 1},
    ),
}
RANKS: Mapping[str, Parameter] = {
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

_MILLISECONDS: Shape = {"type": "number", "minimum": 0}
#: Of an answer whose inputs were batched: a text and a shape by the header's name.
BATCHED: Mapping[str, tuple[str, Shape]] = {
    "X-Batch-Size": ("Inputs of the upstream call.", {"type": "integer", "minimum": 1}),
    "X-Batch-Reason": ("Why the call left when it did.", {"type": "string"}),
    "X-Batch-Class": ("The class of the request.", {"type": "string", "enum": [*CLASSES]}),
    "X-Batch-Shared": ("An equal input of another request was computed for this one.", {"const": "true"}),
    "X-Queue-Time": ("Milliseconds that the request waited for its call.", _MILLISECONDS),
    "X-Inference-Time": ("Milliseconds of the upstream call.", _MILLISECONDS),
    "X-Total-Time": ("Milliseconds from the request to its answer.", _MILLISECONDS),
}
#: Of the refusals after which a client may ask again.
REFUSED: Mapping[str, tuple[str, Shape]] = {
    "Retry-After": ("Seconds after which to ask again.", {"type": "integer", "minimum": 0}),
    "Retry-After-Ms": ("The same in milliseconds.", {"type": "integer", "minimum": 0}),
}
#: Of a refusal because the client's own key has as many requests under way as it may have.
CAPPED: Mapping[str, tuple[str, Shape]] = {
    "X-RateLimit-Limit-Requests": ("Requests that the key may have under way.", {"type": "integer"}),
    "X-RateLimit-Remaining-Requests": ("Those that it may send beside them.", {"type": "integer"}),
}
