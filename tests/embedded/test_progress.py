"""What is shown while the model loads."""

import io

from embedded.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_redrawn_line_on_a_terminal() -> None:
    terminal = Terminal()
    progress = Progress(terminal, total=2)

    with progress.step("opening session"):
        assert terminal.getvalue().endswith("[....................] opening session")

    assert "[##########..........] opening session, 0.0" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()


def test_progress_is_one_plain_line_a_step_in_a_log() -> None:
    log = io.StringIO()
    progress = Progress(log, total=1)

    with progress.step("opening session"):
        pass
    progress.finish("ready")

    first, second = log.getvalue().splitlines()
    assert first.startswith("embedded: [1/1] opening session: 0.0")
    assert second.startswith("embedded: ready after 0.0")
