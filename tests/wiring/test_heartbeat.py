"""The workers' heartbeat finds a place where no directory takes a file."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from gunicorn.workers import base

from wiring.heartbeat import MemoryFile, place_heartbeat, takes_a_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn's own file comes back after the test."""
    monkeypatch.setattr(base, "WorkerTmp", base.WorkerTmp)


def test_the_first_directory_that_takes_a_file_is_chosen(tmp_path: Path) -> None:
    assert place_heartbeat([str(tmp_path / "missing"), str(tmp_path)]) == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert base.WorkerTmp is not MemoryFile


def test_a_directory_takes_a_file_only_if_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert takes_a_file(str(tmp_path))
    assert not takes_a_file(str(tmp_path / "file"))
    assert not takes_a_file(str(tmp_path / "missing"))


def test_without_a_directory_the_heartbeat_is_a_file_in_memory(tmp_path: Path) -> None:
    assert place_heartbeat([str(tmp_path / "missing")]) is None
    assert base.WorkerTmp is MemoryFile


def test_without_such_files_any_temporary_directory_has_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(os, "memfd_create", unknown)
    assert place_heartbeat([str(tmp_path / "missing")]) == tempfile.gettempdir()


def test_a_file_in_memory_beats_as_gunicorns_does() -> None:
    before = time.monotonic()
    file = MemoryFile(cfg=None)
    file.notify()
    assert file.last_update() >= before - 0.001
    assert os.fstat(file.fileno()).st_size == 0
    file.close()
    file.close()
