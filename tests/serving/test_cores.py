"""What can be seen of the other work on each core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.cores import Claims, Ticks, bound_processes, loads, ticks

if TYPE_CHECKING:
    from pathlib import Path


def test_the_ticks_of_each_core_are_read(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 5 80 5 0 0 0 0 0\ncpu12 1 1 1 1 1 1 1 1 7 7\nintr 5\n")
    assert ticks(stat) == {0: Ticks(15, 100), 12: Ticks(6, 8)}


@pytest.mark.parametrize("text", ["", "cpu0 what\n"])
def test_a_system_that_does_not_tell_has_no_ticks(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    assert ticks(tmp_path / "stat") == {}
    assert ticks(tmp_path / "missing") == {}


def test_the_load_is_the_busy_part_of_the_time_between_two_looks() -> None:
    before = {0: Ticks(10, 100), 1: Ticks(0, 100), 2: Ticks(0, 0)}
    after = {0: Ticks(15, 110), 1: Ticks(0, 110), 2: Ticks(0, 0), 3: Ticks(1, 1)}
    assert loads(before, after) == {0: 0.5, 1: 0.0}


def test_processes_that_may_run_on_one_core_only_are_counted(tmp_path: Path) -> None:
    statuses = {
        "10": "VmRSS:\t1 kB\nCpus_allowed_list:\t3\n",
        "11": "VmRSS:\t1 kB\nCpus_allowed_list:\t0-3\n",
        "12": "Cpus_allowed_list:\t2\n",  # a kernel thread
        "13": "VmRSS:\t1 kB\nCpus_allowed_list:\t3\n",
    }
    for process, status in statuses.items():
        (tmp_path / process).mkdir()
        (tmp_path / process / "status").write_text(status)
    (tmp_path / "14").mkdir()  # it has just ended
    assert bound_processes(tmp_path) == {3: 2}


def test_without_a_process_table_none_is_counted(tmp_path: Path) -> None:
    assert bound_processes(tmp_path / "missing") == {}


def test_claims_of_other_services_are_counted_until_they_end(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    one, two, three = Claims(file), Claims(file), Claims(file)
    one.take(0)
    two.take(0)
    two.take(5)
    assert three.count({0, 1, 5}) == {0: 2, 1: 0, 5: 1}
    assert one.count({0}) == {0: 1}, "its own does not count"
    two.close()
    assert three.count({0, 1, 5}) == {0: 1, 1: 0, 5: 0}
    one.close()
    three.close()


def test_services_choose_one_after_the_other(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    one, two = Claims(file), Claims(file)
    with one.turn(), two.turn():
        one.take(1)
    assert two.count({1}) == {1: 1}, "the second waited for a moment, and went on"
    one.close()
    two.close()


def test_without_a_file_there_are_no_claims(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "missing")
    with claims.turn():
        claims.take(0)
    assert claims.count({0}) == {0: 0}
    claims.close()
