"""An upstream from memory that answers every task in its own form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from batching import Answer, Task
from tests.support.fakes import FakeUpstream, results_of

if TYPE_CHECKING:
    from batching import Batch


class TaskUpstream(FakeUpstream):
    """Gives each item of a batch the kind of result that its task has; the item's length is in each."""

    def send(self, batch: Batch) -> Answer:
        super().send(batch)
        if batch.key.task is Task.EMBED:
            return Answer(results_of(batch), 8)
        return Answer([json.dumps(_result(batch.key.task, len(item))).encode() for item in batch.items])


def _result(task: Task, length: int) -> Any:
    return {
        Task.EMBED_ALL: [[length / 2, 1.0], [0.5, 0.25]],
        Task.EMBED_SPARSE: [{"index": 1, "value": length / 2}],
        Task.CLASSIFY: [{"score": 1 / length, "label": "LABEL_0"}],
        Task.PREDICT: {"length": length},
    }[task]
