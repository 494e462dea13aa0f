"""What is asked of the model, and what items must have in common to share a batch."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple


class Task(StrEnum):
    """What is asked of the model. APIs translate into it, dialects out of it; the queue only compares it."""

    #: A text or a list of token ids in, one vector out.
    EMBED = "embed"
    #: The same in, one vector for each token out.
    EMBED_ALL = "embed_all"
    #: The same in, pairs of index and value out.
    EMBED_SPARSE = "embed_sparse"
    #: A list of one text or of a pair of texts in, labels with scores out. A rerank request arrives here as pairs.
    CLASSIFY = "classify"
    #: Any JSON in, any JSON out (KServe's predict).
    PREDICT = "predict"

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
    #: The API whose members ``more`` holds (``tei``, ``openai``, ``kserve``); empty where it holds none.
    family: str = ""
    #: Scores as the model gives them, not as probabilities.
    raw_scores: bool | None = None


class BatchKey(NamedTuple):
    """What items must have in common to share a batch. Hashable; the queue has a lane for each."""

    task: Task
    options: Options = Options()
    #: The model that the client names; None: the upstream's own.
    model: str | None = None
