"""Where the C library can be told to use one arena, it is."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_glibc_takes_the_setting() -> None:
    code = "from api.memory import use_one_arena; import sys; sys.exit(not use_one_arena())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from api import memory  # noqa: PLC0415

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory.use_one_arena() is False
