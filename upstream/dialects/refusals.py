"""Says what a reply other than 200 means, by its status and its words. All dialects share it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from upstream.dialects.dialect import Refusal, RefusalKind
from upstream.dialects.sizes import concerns_length, size_of
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
#: What llama.cpp's server, and others made of it, say with 500 of an input that is too long for them.
_TOO_LONG = re.compile(
    r"(?:input (?:\(\d+ tokens\) )?is too large to process[.,] (?:please )?increase the physical batch size"
    r"|input prompt is too big compared to KV size).{0,60}"
)
#: What OpenAI says with 429 of one call that has more tokens than a minute allows: it never fits.
_NEVER_FITS = b"Request too large for "


def refusal(reply: Reply) -> Refusal:
    """Read a reply other than 200."""
    # What servers say when a model throws on an input is 500 (FastAPI, KServe, MLServer, Triton, llama-server), 424
    # (TEI, SageMaker), 507 (no memory for this batch), and may be anything else.
    other = RefusalKind.SUSPICIOUS if reply.status >= 400 else RefusalKind.FAILED
    kind = _KINDS.get(reply.status, other)
    if kind is RefusalKind.BUSY and _NEVER_FITS not in reply.body:
        return Refusal(kind)  # no use is made of its words, and there may be many
    text, error_type = read(reply.body)
    told = (other for status, other, words in _TOLD if status == reply.status and re.fullmatch(words, text))
    kind = next(told, kind)
    if kind is RefusalKind.SUSPICIOUS and _TOO_LONG.fullmatch(text):
        return Refusal(RefusalKind.INPUTS, text, error_type, concerns_length=True)
    size = size_of(reply.status, text) if kind is RefusalKind.INPUTS or reply.status == 429 else None
    if size is not None and (kind is RefusalKind.INPUTS or size.had_tokens):
        return Refusal(RefusalKind.INPUTS, text, error_type, concerns_size=True, size=size)
    return Refusal(kind, text, error_type, concerns_length=kind is RefusalKind.INPUTS and concerns_length(text))
