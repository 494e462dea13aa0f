"""The bar shows how far something has come, on a terminal only."""

from __future__ import annotations

import io

from wiring.check.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_part_that_is_done_and_what_is_done_next() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show(0.5, "calls of 8 texts")
    assert "[###############...............]  50% calls of 8 texts" in terminal.getvalue()
    progress.show(7.0, "more than all")
    assert "[##############################]" in terminal.getvalue()
    progress.clear()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_shows_nothing() -> None:
    file = io.StringIO()
    progress = Progress(file)
    progress.show(0.5, "calls")
    progress.clear()
    assert file.getvalue() == ""
