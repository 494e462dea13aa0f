"""How the C library's allocator keeps the memory of large responses once they have been sent."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: Bytes from which on a block is mapped by itself. glibc starts with an eighth of it, but raises it to the largest
#: block that was ever freed: then large responses lie between small ones, and their memory does not go back.
LARGE_BLOCK = 1_048_576
#: Free bytes at the end of a heap that are kept, so that what is smaller need not be asked of the system each time.
KEPT = 4_194_304

#: glibc's numbers of these parameters (``malloc.h``).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def give_large_blocks_back() -> None:
    """Let the process return the memory of large blocks to the system as soon as they are freed.

    Another C library than glibc keeps the way that it has.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)
        library.mallopt(_TRIM_THRESHOLD, KEPT)
