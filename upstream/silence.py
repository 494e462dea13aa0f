"""Tells whether the other machine has gone silent: it does not even acknowledge what was sent to it.

``TCP_USER_TIMEOUT`` would break such a connection as well, but also one to a server that lives and does not read: while
its loop is blocked, a request larger than its buffers is not taken, and to the system that is no progress either.
"""

from __future__ import annotations

import socket
import struct

#: Seconds without a sign of life, in which the system has sent the same bytes some five times.
MOST_SILENCE = 10.0

#: The beginning of the kernel's ``tcp_info``: the third byte counts retransmissions, one word the segments that are
#: not acknowledged, and one the ms since an acknowledgement came. A server that does not read still acknowledges.
_TCP_INFO = struct.Struct("@2xB5x4x4x4x4xI28xI")


def has_gone_silent(stream: socket.socket) -> bool:
    """Whether the peer has acknowledged nothing for ``MOST_SILENCE`` though bytes were sent to it again and again."""
    try:
        info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # no TCP, or a system that does not tell
        return False
    return len(info) == _TCP_INFO.size and is_silence(info)


def is_silence(info: bytes) -> bool:
    """Whether a ``tcp_info``, cut to the length of what is read of it, tells of a silent peer."""
    retransmissions, unacknowledged, since = _TCP_INFO.unpack(info)
    return bool(retransmissions and unacknowledged and since >= 1000 * MOST_SILENCE)
