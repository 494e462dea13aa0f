"""Threads for tests: joined when the block ends, and what they raise is raised there."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds until a thread that has not ended counts as hung.
PATIENCE = 30.0


class Nursery:
    """Starts threads in a ``with`` block; leaving it joins them all and raises the first error of any."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, target: Callable[..., object], *args: object) -> None:
        thread = threading.Thread(target=self._run, args=(target, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, target: Callable[..., object], *args: object) -> None:
        try:
            target(*args)
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._errors:
            raise self._errors[0]
        assert not any(thread.is_alive() for thread in self._threads), "a thread hangs"


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Let the interpreter switch threads as often as it can, which brings races to light."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
