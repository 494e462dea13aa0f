"""How often inputs of one key are refused, and how large batches should be for it."""

from __future__ import annotations

import math

#: Weight of the newest item in the average share of refused items, and the share that counts as none.
WEIGHT, NONE = 0.01, 0.0005
#: Prior: the average starts as if this many inputs had been accepted.
PRIOR_ACCEPTED = 32


class RejectionRate:
    """Moving average of the share of items that the upstream refused. Used with the queue's lock held.

    At first it is the average of all items, so that a flood is known by its first few; once there are many, of the
    newest.
    """

    __slots__ = ("_judged", "share")

    def __init__(self) -> None:
        self.share = 0.0
        self._judged = PRIOR_ACCEPTED

    def __repr__(self) -> str:
        return f"<RejectionRate {self.share:.4f}>"

    def add(self, rejected: int, judged: int) -> None:
        """Learn that the upstream refused ``rejected`` of ``judged`` items."""
        if not rejected and not self.share:
            return
        if judged:
            weight = max(1.0 - (1.0 - WEIGHT) ** judged, judged / (self._judged + judged))
            self._judged += judged
            self.share += weight * (rejected / judged - self.share)
        if self.share < NONE:
            self.share, self._judged = 0.0, PRIOR_ACCEPTED

    def batch_size(self, most: int) -> int:
        """Return the batch size that suits this share of refused items: ``most`` where hardly any is refused.

        Among the halves of ``most`` it is the largest whose isolation is expected to cost less than one extra call for
        each batch: a batch of n is refused with probability 1 - (1 - share)^n, to find its first bad input takes log2 n
        calls, and every other time one more, for the verdict on an input that was found by elimination.
        """
        size = most
        if not self.share:
            return size
        while size > 1 and (1.0 - (1.0 - self.share) ** size) * (math.log2(size) + 0.5) > 1.0:
            size = (size + 1) // 2
        return size
