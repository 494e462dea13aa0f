"""What the log is told of requests that were refused as malformed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from serving.invalid_requests import MOST_LINES, PERIOD, InvalidRequests

if TYPE_CHECKING:
    import pytest

    from tests.serving.conftest import Clock

LOG = logging.getLogger("invalid requests")


def test_each_of_the_first_is_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    requests = InvalidRequests(clock=clock)
    for number in range(2):
        requests.tell(LOG, "10.0.0.1", ValueError(f"bad {number}"))
    assert caplog.messages == ["Invalid request from ip=10.0.0.1: bad 0", "Invalid request from ip=10.0.0.1: bad 1"]


def test_a_client_that_sends_many_does_not_fill_the_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    requests = InvalidRequests(clock=clock)
    for _ in range(1000):
        requests.tell(LOG, "10.0.0.1", ValueError("bad"))
    assert len(caplog.messages) == MOST_LINES
    clock.now += PERIOD
    requests.tell(LOG, "10.0.0.2", ValueError("worse"))
    assert caplog.messages[MOST_LINES:] == [
        f"{1000 - MOST_LINES} more requests were invalid before",
        "Invalid request from ip=10.0.0.2: worse",
    ]


def test_a_quiet_period_is_not_told_of(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    requests = InvalidRequests(clock=clock)
    requests.tell(LOG, "10.0.0.1", ValueError("bad"))
    clock.now += PERIOD
    requests.tell(LOG, "10.0.0.1", ValueError("bad"))
    assert len(caplog.messages) == 2


def test_a_clients_bytes_do_not_reach_a_terminal(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    InvalidRequests(clock=clock).tell(LOG, "10.0.0.1", ValueError("a\x1b[31m\nWARNING forged"))
    (message,) = caplog.messages
    assert message.isprintable()
