"""Asks an upstream about an input that it has accepted, before it is ejected for failures that inputs may cause."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from batching.errors import UpstreamError
from batching.observer import CallReport
from upstream.member import WITNESS

if TYPE_CHECKING:
    from batching.call import Batch
    from batching.clock import Clock
    from upstream.endpoint import AnyEndpoint

log = logging.getLogger(__name__)

#: Longest (s) that an upstream is tried out with a plain text.
TRIAL_TIMEOUT = 5.0


def ask(endpoint: AnyEndpoint, witness: Batch, clock: Clock) -> tuple[bool, CallReport]:
    """Repeat the witness's input; say whether the upstream is well, and report the call.

    Where it has accepted no input yet, and the witness is empty, it is tried out with a plain text.
    """
    began = clock.now()
    is_well, error = False, None
    try:
        if witness.items:
            endpoint.send(witness)
        is_well = bool(witness.items) or endpoint.try_out(TRIAL_TIMEOUT).is_well
    except UpstreamError as problem:
        error = problem.bare()
    except Exception:  # a bug of ours ejects no upstream
        log.exception("asking upstream %s about a known input failed unexpectedly", endpoint.url)
        is_well = True
    return is_well, CallReport(endpoint.url, 1, WITNESS, None, clock.now() - began, error)
