"""What the master prepares before it forks: as many open files as it may have, and a place for metrics."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from config import Settings
from wiring import master
from wiring.master import METRICS_DIRECTORY, MOST_OPEN_FILES, prepare_metrics_directory, raise_open_files_limit

if TYPE_CHECKING:
    from pathlib import Path

INFINITY = resource.RLIM_INFINITY


class Files:
    """The limit of open files; ``allowed``: whether it may be changed."""

    def __init__(self, soft: int, hard: int, *, allowed: bool = True) -> None:
        self.limits = (soft, hard)
        self._allowed = allowed

    def get(self, _: int) -> tuple[int, int]:
        return self.limits

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if not self._allowed:
            raise PermissionError
        self.limits = limits


@pytest.mark.parametrize(
    ("files", "limit", "limits"),
    [
        (Files(1024, 4096), 4096, (4096, 4096)),
        (Files(1024, 4096, allowed=False), 1024, (1024, 4096)),
        (Files(1024, 1_073_741_816), MOST_OPEN_FILES, (MOST_OPEN_FILES, 1_073_741_816)),
        (Files(1024, INFINITY), MOST_OPEN_FILES, (MOST_OPEN_FILES, INFINITY)),
        (Files(INFINITY, INFINITY), INFINITY, (INFINITY, INFINITY)),
        (Files(2 * MOST_OPEN_FILES, INFINITY), 2 * MOST_OPEN_FILES, (2 * MOST_OPEN_FILES, INFINITY)),
    ],
)
def test_open_files_are_raised_as_far_as_is_allowed_and_sensible(
    files: Files, limit: int, limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", files.get)
    monkeypatch.setattr(resource, "setrlimit", files.set)
    assert raise_open_files_limit() == limit
    assert files.limits == limits


@pytest.fixture
def at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A master that has imported nothing yet; returns its directory for temporary files."""
    monkeypatch.setattr(master, "_made", [])
    monkeypatch.delitem(sys.modules, "prometheus_client", raising=False)
    monkeypatch.setenv(METRICS_DIRECTORY, "")  # so that it is as before after the test
    monkeypatch.delenv(METRICS_DIRECTORY)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_one_worker_needs_no_directory(at_start: Path) -> None:
    prepare_metrics_directory(Settings())
    assert METRICS_DIRECTORY not in os.environ


def test_several_workers_get_a_directory(at_start: Path) -> None:
    prepare_metrics_directory(Settings(workers=2))
    assert os.path.dirname(os.environ[METRICS_DIRECTORY]) == str(at_start)


def test_in_a_directory_that_is_named_a_new_one_is_made(at_start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = at_start / "named"
    monkeypatch.setenv(METRICS_DIRECTORY, str(named))
    prepare_metrics_directory(Settings())
    assert os.path.dirname(os.environ[METRICS_DIRECTORY]) == str(named)


def test_a_directory_that_is_named_and_cannot_be_used_ends_the_start(
    at_start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_start / "file").touch()
    monkeypatch.setenv(METRICS_DIRECTORY, str(at_start / "file"))
    with pytest.raises(SystemExit, match="cannot be used for metrics"):
        prepare_metrics_directory(Settings())


def test_without_a_writable_place_each_worker_tells_its_own_metrics(
    at_start: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_there() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none_there)
    monkeypatch.setattr(master, "IN_MEMORY", str(at_start / "file" / "below"))
    (at_start / "file").touch()
    prepare_metrics_directory(Settings(workers=2))
    assert METRICS_DIRECTORY not in os.environ
    assert "each worker tells its own metrics" in caplog.text
