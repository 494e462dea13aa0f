"""What goes upstream and what clients are answered is, byte for byte, what it was before the house was rebuilt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.recording import FILE, record

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def today() -> list[dict[str, Any]]:
    return record()


@pytest.mark.parametrize("at", range(len(RECORDED)), ids=[f"{case['status']} {case['body'][:30]}" for case in RECORDED])
def test_a_recorded_request_is_sent_and_answered_as_before(today: list[dict[str, Any]], at: int) -> None:
    assert today[at] == RECORDED[at]
