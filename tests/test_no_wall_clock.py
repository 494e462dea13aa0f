"""The machine's clock may jump: whatever waits or measures goes by the monotonic one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: The date in a response's head is the time of day, and measures nothing; a ``Retry-After`` may be a date.
TELLS_THE_TIME_OF_DAY = {("serving/response.py", "time.time"), ("upstream/failures.py", "time.time")}
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "time.localtime", "time.gmtime"}
SOURCES = [
    path
    for folder in ("batching", "upstream", "formats", "instrumentation", "api", "serving", "wiring")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def read_in(path: Path) -> set[tuple[str, str]]:
    name = path.relative_to(ROOT).as_posix()
    attributes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))
    return {(name, text) for node in attributes if (text := ast.unparse(node)) in WALL_CLOCKS}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_jump_of_the_clock_changes_no_wait_and_no_deadline(path: Path) -> None:
    assert read_in(path) <= TELLS_THE_TIME_OF_DAY


def test_the_check_finds_what_it_looks_for() -> None:
    assert {found for name, _ in TELLS_THE_TIME_OF_DAY for found in read_in(ROOT / name)} == TELLS_THE_TIME_OF_DAY
