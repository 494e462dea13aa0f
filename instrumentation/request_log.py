"""Writes a line for each request and each upstream call, where the operator has asked for that.

Each line is `name=value` pairs, or members of a JSON object. No body, no header of a client and no key is among them:
the request's identity is checked before, and a flow has the name that the file of keys gives it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from batching.observer import CallReport, Observer

if TYPE_CHECKING:
    from batching import Call

log = logging.getLogger("autobatch.requests")

_CLASSES = ("interactive", "bulk")
#: Of flows that clients name themselves: only what the operator has named is told.
_OTHERS = "other"


class RequestLog(Observer):
    """One line for each request that was answered and each upstream call that ended. Any thread."""

    def __init__(self, flows: frozenset[str] = frozenset()) -> None:
        """``flows``: the names that the file of keys gives."""
        self._flows = flows

    def request(self, identity: str, route: str, status: int, seconds: float, call: Call | None) -> None:
        """Tell one request. ``call``: what it asked the engine for; None where it did not come so far."""
        members: dict[str, Any] = {"id": identity, "route": route, "status": status, "ms": _ms(seconds)}
        if call is not None:
            rank = call.rank
            members["items"] = len(call.items)
            members["class"] = _CLASSES[rank.is_bulk]
            if rank.flow is not None:
                members["flow"] = rank.flow.name if rank.flow.name in self._flows else _OTHERS
            if call.batch_size:
                members |= {
                    "queue_ms": _ms(call.queue_delay),
                    "batch_size": call.batch_size,
                    "reason": call.reason,
                    "upstream_ms": _ms(call.inference_time),
                }
            if call.tokens is not None:
                members["tokens"] = call.tokens
        _write("request", members)

    def unread(self, status: int) -> None:
        """Tell a request that was refused before it was read."""
        _write("request", {"route": "unread", "status": status})

    def on_call(self, report: CallReport) -> None:
        members: dict[str, Any] = {
            "upstream": report.upstream,
            "size": report.size,
            "reason": report.reason,
            "ms": _ms(report.latency),
            "result": "ok" if report.error is None else report.error.error_type,
        }
        if report.retry_reason is not None:
            members["retry"] = report.retry_reason
        if report.tokens is not None:
            members["tokens"] = report.tokens
        _write("call", members)


def _write(what: str, members: dict[str, Any]) -> None:
    """Write one line; JSON has the members beside the same text."""
    text = " ".join(f"{name}={value}" for name, value in members.items())
    log.info("%s %s", what, text, extra={"members": {"event": what, **members}})


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
