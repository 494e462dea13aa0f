"""What is asked of the model, and what items must have in common to share a batch."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple


class Task(StrEnum):
    """What is asked of the model. APIs translate into it, dialects out of it; the queue only compares it."""

    #: A text or a list of token ids in, one vector out.
    EMBED = "embed"

    # An enumeration's own hash is a function in Python; each request looks its lane up by the task.
    __hash__ = str.__hash__


class Options(NamedTuple):
    """What changes the result, independent of any API. None: not given, so the upstream's default holds."""

    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Literal["left", "right"] | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    #: Members that the API does not know, each a name and its canonical JSON, sorted by name. They mean something only
    #: to an upstream of the same family.
    more: tuple[tuple[str, bytes], ...] = ()


class BatchKey(NamedTuple):
    """What items must have in common to share a batch. Hashable; the queue has a lane for each."""

    task: Task
    options: Options = Options()
    #: The model that the client names; None: the upstream's own.
    model: str | None = None
