"""Each master counts in a directory of its own, touches no file of others, and refuses a disk that is nearly full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from instrumentation.metrics_directory import LEAST_FREE, UnusableError, make_own

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
OTHER_MASTER = """
import pathlib, sys
from instrumentation.metrics_directory import make_own
print(make_own(pathlib.Path(sys.argv[1])).name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another master that has a directory in the same place."""
    command = [sys.executable, "-c", OTHER_MASTER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def name_of(master: subprocess.Popen[str]) -> str:
    assert master.stdout is not None
    return master.stdout.readline().strip()


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    made = make_own(tmp_path / "a" / "b")
    assert made.parent == tmp_path / "a" / "b"
    assert made.is_dir()


def test_the_files_of_others_stay(tmp_path: Path) -> None:
    for name in ("counter_1.db", "else.txt"):
        (tmp_path / name).write_text("not ours")
    made = make_own(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"counter_1.db", "else.txt", made.name}


def test_two_masters_that_are_told_the_same_directory_do_not_meet(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    theirs = tmp_path / name_of(other)
    ours = make_own(tmp_path)
    assert ours != theirs
    assert theirs.is_dir()


def test_what_a_killed_master_left_is_removed(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    left = tmp_path / name_of(other)
    other.kill()
    other.wait()
    assert left.is_dir()
    assert [each.name for each in tmp_path.iterdir() if each != make_own(tmp_path)] == [left.name]
    assert not left.exists()


def test_a_directory_on_a_nearly_full_disk_is_refused(tmp_path: Path) -> None:
    assert make_own(tmp_path, lambda _: LEAST_FREE).is_dir()
    with pytest.raises(UnusableError, match="bytes free"):
        make_own(tmp_path, lambda _: LEAST_FREE - 1)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableError, match="cannot be used"):
        make_own(tmp_path / "file")
