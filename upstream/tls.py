"""TLS to an upstream: whom it trusts, the handshake, and what a failed one means in words."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from requests.utils import DEFAULT_CA_BUNDLE_PATH

if TYPE_CHECKING:
    import socket

#: Exceptions that mean: the peer closed.
PEER_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
#: What OpenSSL says where the peer's first bytes are no TLS record, by its version and by what the bytes look like.
NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}


def trusting_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return a context that trusts the certificates of the system and of certifi, and checks the host name.

    ``ca_file``: a file of certificates (PEM) that are trusted as well; raises an ``OSError`` if it cannot be read.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_TICKET  # no session is resumed
    return context


def handshake(stream: socket.socket, context: ssl.SSLContext, host: str, timeout: float) -> socket.socket:
    """Return the TLS socket over this stream; raises an ``OSError``, after ``timeout`` seconds ``TimeoutError``.

    Raises ``ValueError`` for a host name that no certificate can have.
    """
    stream.settimeout(timeout)  # it bounds the handshake as a whole
    # The name without the zone of an IPv6 address and the dot of the root: certificates have neither.
    return context.wrap_socket(stream, server_hostname=host.partition("%")[0].rstrip("."))


def words_for(problem: Exception) -> str:
    """Return what a failure of TLS means, in words that clients may read: they name no host and no address."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        # Behind the comma of a mismatch stands the name that was asked for.
        message = str(getattr(problem, "verify_message", "")).partition(",")[0].rstrip(".")
        return f"certificate verify failed ({_beginning_small(message)})" if message else "certificate verify failed"
    if isinstance(problem, PEER_CLOSED):
        return "the upstream closed the connection during the handshake"
    reason = getattr(problem, "reason", None) or ""
    if reason in NOT_TLS:
        return "the upstream does not speak TLS on this port"
    if isinstance(problem, ValueError):
        return "its host name is none that a certificate can have"
    return reason.replace("_", " ").lower() or "the connection failed"


def _beginning_small(text: str) -> str:
    """Return the text with a small first letter, unless its first word is written in capitals (``IP``, ``CA``)."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
