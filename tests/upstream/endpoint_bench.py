"""Batches for an endpoint in front of a scripted upstream, and what may become of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from batching import Batch, BatchKey
from batching.call import Part
from batching.errors import UpstreamError
from tests.support.fakes import KEY, call_of, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.endpoint import Endpoint

    #: Makes an endpoint for a URL; takes the options of ``Endpoint``.
    Connect = Callable[..., Endpoint]

#: Seconds that a call may take, and that it may end late.
TIMEOUT, LATE = 0.4, 0.25


def batch_of(*texts: str, key: BatchKey = KEY, lasts: float = 60.0) -> Batch:
    """Return a batch of one call that has ``lasts`` seconds."""
    batch = Batch(key, "full", time.monotonic())
    call = call_of(*texts, key=key, deadline=time.monotonic() + lasts)
    batch.add(Part(call, 0, len(texts)))
    return batch


def assert_answers(endpoint: Endpoint, *texts: str, key: BatchKey = KEY) -> None:
    """Each input gets the vector that no other has."""
    batch = batch_of(*texts or ("a",), key=key)
    assert endpoint.send(batch).results == results_of(batch)


def assert_fails(endpoint: Endpoint, kind: type[UpstreamError], status: int, *texts: str) -> UpstreamError:
    """The batch ends in time, with this kind of error; return it."""
    began = time.monotonic()
    with pytest.raises(UpstreamError) as raised:
        endpoint.send(batch_of(*texts or ("a", "b")))
    assert time.monotonic() - began < TIMEOUT + LATE
    assert (type(raised.value), raised.value.status) == (kind, status)
    return raised.value
