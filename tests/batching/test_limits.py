"""The limits never change: what upstreams may change stands in the capacity."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from batching import Limits
from batching.clock import NEVER


def test_limits_cannot_be_changed() -> None:
    limits = Limits(max_calls=1, max_queued_items=2, max_batch_bytes=3)
    with pytest.raises(FrozenInstanceError):
        limits.max_calls = 2  # type: ignore[misc]


def test_by_default_upstreams_do_not_pad_and_no_call_is_overdue() -> None:
    limits = Limits(max_calls=1, max_queued_items=2, max_batch_bytes=3)
    assert (limits.max_padded_bytes, limits.max_wait) == (0, NEVER)
