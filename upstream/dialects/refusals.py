"""Says what a reply other than 200 means, by its status and its words. All dialects share it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from upstream.dialects.dialect import Refusal, RefusalKind
from upstream.dialects.words import read

if TYPE_CHECKING:
    from upstream.http_reply import Reply

_KINDS = {
    **dict.fromkeys((400, 413, 422), RefusalKind.INPUTS),
    429: RefusalKind.BUSY,
    503: RefusalKind.NOT_READY,
    # Redirects, keys, paths, methods, media types, network logins.
    **dict.fromkeys(range(300, 400), RefusalKind.MISCONFIGURED),
    **dict.fromkeys((401, 402, 403, 404, 405, 406, 407, 415, 421, 426, 505, 511), RefusalKind.MISCONFIGURED),
    # 408: the server waited for a request that was sent; 521 to 530: Cloudflare, which cannot reach the server.
    **dict.fromkeys((408, 502, 504, *range(521, 528), 530), RefusalKind.GATEWAY),
}
#: Words that tell more than the status. Each pattern is of the whole text, which servers write without quoting an input
#: before it: otherwise a client could choose what its error is taken for.
_TOLD = [
    (400, RefusalKind.MISCONFIGURED, r"(?:400 )?The plain HTTP request was sent to HTTPS port"),  # nginx
    (400, RefusalKind.MISCONFIGURED, r"Client sent an HTTP request to an HTTPS server\.?"),  # Go
    (400, RefusalKind.MISCONFIGURED, r"(?:/[\w/]{0,50}: )?Invalid model name passed in model=.*"),  # LiteLLM
    (400, RefusalKind.MISCONFIGURED, r"API key not valid\b.*"),  # Google
    (400, RefusalKind.NOT_READY, r"Model version not ready"),  # Triton
    (503, RefusalKind.BUSY, r"Exceeds maximum queue size"),  # Triton
]
#: A batch that is too large as a whole: its halves may be fine.
_SIZE = re.compile(
    r"batch[ _-]?size \d+ > |batch-size must be <=|too many (?:inputs|items|texts|instances|documents)"
    r"|should have at most \d+ items|too large to process|length limit exceeded"
    r"|(?:body|payload|entity) (?:is )?too large",
    re.IGNORECASE,
).search


def refusal(reply: Reply) -> Refusal:
    """Read a reply other than 200."""
    # What servers say when a model throws on an input is 500 (FastAPI, KServe, MLServer, Triton, llama-server), 424
    # (TEI, SageMaker), 507 (no memory for this batch), and may be anything else.
    other = RefusalKind.SUSPICIOUS if reply.status >= 400 else RefusalKind.FAILED
    kind = _KINDS.get(reply.status, other)
    if kind is RefusalKind.BUSY:
        return Refusal(kind)  # no use is made of its words, and there may be many
    text, error_type = read(reply.body)
    told = (other for status, other, words in _TOLD if status == reply.status and re.fullmatch(words, text))
    kind = next(told, kind)
    concerns_size = kind is RefusalKind.INPUTS and (reply.status == 413 or _SIZE(text) is not None)
    return Refusal(kind, text, error_type, concerns_size)
