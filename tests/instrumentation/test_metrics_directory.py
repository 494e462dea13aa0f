"""A metrics directory that cannot be used, or whose disk is nearly full, is refused before the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instrumentation.metrics_directory import LEAST_FREE, prepare

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    assert prepare(tmp_path / "a" / "b") is None
    assert (tmp_path / "a" / "b").is_dir()


def test_only_the_files_of_earlier_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    (tmp_path / "else.txt").touch()
    assert prepare(tmp_path) is None
    assert [each.name for each in tmp_path.iterdir()] == ["else.txt"]


def test_a_directory_on_a_nearly_full_disk_is_refused(tmp_path: Path) -> None:
    assert prepare(tmp_path, lambda _: LEAST_FREE) is None
    assert "bytes free" in str(prepare(tmp_path, lambda _: LEAST_FREE - 1))


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in str(prepare(tmp_path / "file"))
