"""Says which error a batch's clients get for a reply other than 200."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from batching.errors import (
    Unsupported,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamUnavailable,
)
from upstream.busy import error_of
from upstream.dialects.dialect import Refusal, RefusalKind
from upstream.retry_after import seconds

if TYPE_CHECKING:
    from upstream.http_reply import Reply

#: What a server says that does not know a path, or not by POST.
UNKNOWN_PATH = frozenset({404, 405, 501})

#: What a client is told in place of the statuses that some servers have for an input that they refuse.
_REFUSALS = {429: 413, 500: 422}


def failure_of(refusal: Refusal, reply: Reply, count: int) -> UpstreamError:
    """Return the error for a call of ``count`` items that the dialect has read as this refusal."""
    status, reason = reply.status, f"status {reply.status}"
    if refusal.kind is RefusalKind.INPUTS:
        # The text may quote any of the inputs, and they may belong to different clients.
        general = "this input" if count == 1 else f"this batch of {count} inputs"
        message = refusal.text if count == 1 and refusal.text else f"the upstream refused {general}"
        words = refusal.text if count > 1 else ""
        return UpstreamRejected(
            message,
            status=_REFUSALS.get(status, status),
            error_type=refusal.error_type,
            words=words,
            concerns_size=refusal.concerns_size,
            size=refusal.size,
            concerns_length=refusal.concerns_length,
        )
    asked = seconds(reply.headers, time.time)
    if refusal.kind is RefusalKind.BUSY:
        return error_of(reply, asked)
    if refusal.kind is RefusalKind.NOT_READY:
        text = "the upstream is not ready"
        return UpstreamUnavailable(text, retry_after=asked or 1, pause=asked or 0.0, reason=reason)
    answered = f"the upstream answered with status {status}"
    if refusal.kind is RefusalKind.SUSPICIOUS:
        words = f"{answered}: {refusal.text}" if refusal.text else ""
        message = words if count == 1 and words else answered
        return UpstreamFailed(message, status=424 if status == 424 else 502, words=words, reason=reason)
    if refusal.kind is RefusalKind.MISCONFIGURED:
        text = f": {refusal.text}" if refusal.text else ""
        return UpstreamMisconfigured(answered, reason=reason + leads_to(reply) + text)
    if refusal.kind is RefusalKind.GATEWAY:
        return UpstreamGateway(answered, status=504 if status == 504 else 502, reason=reason)
    return UpstreamError(answered, reason=reason)


def lacks(path: str, status: int, words: str = "") -> Unsupported:
    """Return the error for a request whose path the server does not know; ``words``: its own."""
    said = f"status {status}{words and f': {words}'}"
    return Unsupported(f"the upstream does not have {path}: it answers with {said}", status=404)


def leads_to(reply: Reply) -> str:
    """Return where a redirect leads to, for the log."""
    location = reply.headers.get("location", "")
    return f", which leads to {location[:200]!r}" if location and 300 <= reply.status < 400 else ""
