"""What a worker counts lies in a file without holes, and goes on in memory where the disk is full."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.mmap_dict import MmapedDict

from instrumentation import reserved_values
from instrumentation.reserved_values import FIRST_BYTES, ReservedDict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def numbers(file: Path) -> dict[str, float]:
    """Return what the sum of all workers would find in a file."""
    entries: Any = MmapedDict.read_all_values_from_file(str(file))
    return {key: value for key, value, *_ in entries}


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns what makes the disk full."""

    def no_space(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "posix_fallocate", no_space)


def write_many(values: ReservedDict, count: int = 2000) -> None:
    """Write so many entries that the file has to grow."""
    for number in range(count):
        values.write_value(f"a key of some length {number}", float(number), 0.0)


def test_a_new_file_has_no_holes(tmp_path: Path) -> None:
    ReservedDict(str(tmp_path / "counter_1.db")).close()
    assert os.stat(tmp_path / "counter_1.db").st_blocks * 512 >= FIRST_BYTES


def test_a_file_that_grows_has_no_holes_and_keeps_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "counter_1.db"
    values = ReservedDict(str(file))
    write_many(values)
    values.close()
    status = os.stat(file)
    assert status.st_size > FIRST_BYTES
    assert status.st_blocks * 512 >= status.st_size
    assert numbers(file)["a key of some length 1999"] == 1999.0


def test_on_a_full_disk_a_worker_counts_for_itself_and_leaves_no_empty_file(
    tmp_path: Path, fill: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    fill()
    reserved_values._say_once.cache_clear()
    values = ReservedDict(str(tmp_path / "counter_1.db"))
    write_many(values)
    assert values.read_value("a key of some length 7") == (7.0, 0.0)
    values.close()
    assert list(tmp_path.iterdir()) == []
    (line,) = caplog.messages
    assert "No space left" in line


def test_a_disk_that_fills_up_later_leaves_what_was_counted_before(tmp_path: Path, fill: Callable[[], None]) -> None:
    file = tmp_path / "counter_1.db"
    values = ReservedDict(str(file))
    values.write_value("early", 1.0, 0.0)
    fill()
    write_many(values)
    assert values.read_value("early") == (1.0, 0.0)
    assert values.read_value("a key of some length 1999") == (1999.0, 0.0)
    values.close()
    assert numbers(file)["early"] == 1.0
