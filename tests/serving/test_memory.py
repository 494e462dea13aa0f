"""How the C library's allocator keeps the memory of large responses."""

from __future__ import annotations

import ctypes

import pytest

from serving.memory import KEPT, LARGE_BLOCK, give_large_blocks_back


class FakeLibrary:
    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.told.append((parameter, value))
        return 1


def test_large_blocks_are_mapped_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    give_large_blocks_back()
    assert library.told == [(-3, LARGE_BLOCK), (-1, KEPT)]


@pytest.mark.parametrize("problem", [OSError, AttributeError])
def test_another_c_library_keeps_its_way(monkeypatch: pytest.MonkeyPatch, problem: type[Exception]) -> None:
    def fail(_: None) -> None:
        raise problem

    monkeypatch.setattr(ctypes, "CDLL", fail)
    give_large_blocks_back()
