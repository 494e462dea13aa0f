"""A member that differs in each request is noticed, once, and the watch stays small whatever clients send."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from api.member_watch import MOST_NAMES, MOST_VALUES, MemberWatch
from tests.support.concurrency import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import Edge


def numbered(name: str, count: int, start: int = 0) -> list[tuple[str, bytes]]:
    return [(name, str(number).encode()) for number in range(start, start + count)]


def told(watch: MemberWatch, members: Iterable[tuple[str, bytes]]) -> list[str]:
    return [name for member in members for name in watch.see([member])]


@pytest.mark.parametrize(("different", "expected"), [(2, []), (3, []), (4, ["a"]), (50, ["a"])])
def test_a_member_is_told_once_it_has_had_one_value_too_many(different: int, expected: list[str]) -> None:
    assert told(MemberWatch(most_values=3), numbered("a", different)) == expected


def test_values_that_come_again_do_not_count() -> None:
    assert told(MemberWatch(most_values=3), numbered("a", 3) * 50) == []


def test_each_member_is_counted_by_itself() -> None:
    watch = MemberWatch(most_values=3)
    assert told(watch, [*numbered("a", 3), *numbered("b", 3)]) == []
    assert watch.see([("a", b"9"), ("b", b"9"), ("c", b"9")]) == ["a", "b"]
    assert watch.see([("a", b"10"), ("b", b"10")]) == []


def test_a_name_that_was_told_is_not_told_again_however_many_names_come_after_it() -> None:
    watch = MemberWatch(most_values=1, most_names=4)
    assert told(watch, numbered("a", 2)) == ["a"]
    assert told(watch, [(str(number), b"") for number in range(100)]) == []
    assert told(watch, numbered("a", 50)) == []


def test_the_watch_forgets_the_name_that_it_saw_first() -> None:
    watch = MemberWatch(most_values=2, most_names=2)
    assert told(watch, [*numbered("a", 2), *numbered("b", 2), ("c", b"0")]) == []
    assert told(watch, [("b", b"2")]) == ["b"]
    assert told(watch, [("a", b"2")]) == []


def test_only_so_many_names_are_told_at_all() -> None:
    watch = MemberWatch(most_values=1, most_names=3)
    names = told(watch, [member for name in "abcdef" for member in numbered(name, 2)])
    assert names == ["a", "b", "c"]


def test_threads_that_see_the_same_member_tell_it_once() -> None:
    watch = MemberWatch()
    found: list[str] = []
    with Nursery() as threads:
        for start in range(8):
            threads.start(lambda start: found.extend(told(watch, numbered("a", 200, start))), start)
    assert found == ["a"]


# In the service


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "api.serve"]


def test_the_log_says_once_which_member_undoes_batching(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(MOST_VALUES + 20):
            assert edge.post({"input": "a", "request\nid": number, "model": "m", "user": number}).status_code == 200
    (line,) = warnings(caplog)
    assert '"request\\nid"' in line
    assert f"more than {MOST_VALUES} different values" in line
    assert "leave it out" in line


def test_members_that_all_requests_share_are_not_worth_a_line(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(MOST_NAMES):
            edge.post({"input": str(number), "model": "m", "encoding_format": "float"})
    assert warnings(caplog) == []
