"""The tables of docs/fairness.md are made of the runs that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import simulate_classes
from benchmarks.mixture import Share

if TYPE_CHECKING:
    from pathlib import Path

TABLES = (
    simulate_classes.beside_table,
    simulate_classes.after_table,
    simulate_classes.endless_table,
    simulate_classes.keys_table,
    simulate_classes.flow_tables,
    simulate_classes.own_table,
)


def made_up() -> simulate_classes.Results:
    share = Share(100.0, 0.02, 0.04, 1.0, 0)
    return {job: {group.name: share for group in job.groups} for job in simulate_classes.all_jobs()}


@pytest.mark.parametrize("make", TABLES)
def test_every_run_of_a_table_is_among_the_jobs(make: object) -> None:
    assert "|" in make(made_up())  # type: ignore[operator]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    simulate_classes.draw(made_up(), tmp_path / "fairness.png")
    assert (tmp_path / "fairness.png").stat().st_size > 10_000
