"""Keeps the C library from spreading what hundreds of threads allocate over many arenas, which only grow."""

from __future__ import annotations

import ctypes

#: glibc's `M_ARENA_MAX`, as `man mallopt` has it.
_M_ARENA_MAX = -8


def use_one_arena() -> bool:
    """Let all threads that start from now on allocate from one arena; False where the C library knows no such thing.

    Threads run one at a time here anyway, under the interpreter lock, so nobody waits for the arena.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    except (AttributeError, OSError):
        return False
