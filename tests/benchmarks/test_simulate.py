"""The simulator agrees with arithmetic, and the adaptive rule with what docs/timing.md says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import simulate
from benchmarks.simulate import (
    ADAPTIVE,
    CORE,
    LONG,
    NETWORK,
    PARALLEL,
    SHORT,
    Closed,
    Open,
    Outcome,
    Rule,
    Scenario,
    Upstream,
)

if TYPE_CHECKING:
    from pathlib import Path

THINK = 0.0003


def run(rule: str, upstream: Upstream, load: Closed | Open, *, items: int = 1500, core: float = 0.0) -> Outcome:
    return simulate.simulate(Scenario(upstream, load, core, items), Rule(rule))


def poisson(upstream: Upstream, share: float) -> Open:
    return Open(((share * upstream.capacity, 1e6),))


def test_one_client_waits_for_the_upstream_and_the_network_only() -> None:
    outcome = run(ADAPTIVE, SHORT, Closed(1, THINK), items=300)
    assert outcome.p50 == pytest.approx(SHORT.seconds(1) + 2 * NETWORK)


def test_a_lone_client_waits_for_the_whole_fixed_wait() -> None:
    outcome = run("fixed 10", SHORT, Closed(1, THINK), items=300)
    assert outcome.p50 == pytest.approx(0.010 + SHORT.seconds(1) + 2 * NETWORK)


def test_a_simulation_repeats_itself_exactly() -> None:
    assert run(ADAPTIVE, SHORT, Closed(7, THINK)) == run(ADAPTIVE, SHORT, Closed(7, THINK))


def test_parallel_servers_multiply_what_a_serial_one_can_do() -> None:
    one, four = (run("slot-free 4", upstream, Closed(200, THINK), items=4000) for upstream in (SHORT, PARALLEL))
    assert four.rate == pytest.approx(4 * one.rate, rel=0.15)


def test_a_rebatching_upstream_merges_what_waits_for_it() -> None:
    merging, plain = (run("slot-free 4", upstream, Closed(16, THINK)) for upstream in (simulate.REBATCHING, SHORT))
    assert merging.rate > 1.5 * plain.rate


def test_the_core_of_the_proxy_bounds_the_throughput() -> None:
    assert run(ADAPTIVE, SHORT, Closed(64, THINK), core=0.001).rate == pytest.approx(1000, rel=0.03)


@pytest.mark.parametrize("upstream", [SHORT, LONG], ids=str)
@pytest.mark.parametrize("clients", [4, 16, 64])
def test_a_closed_crowd_gets_nearly_the_optimum(upstream: Upstream, clients: int) -> None:
    scenario = Scenario(upstream, Closed(clients, THINK), items=1500)
    optimum = max(simulate.simulate(scenario, oracle).rate for oracle in simulate.oracles(scenario))
    assert simulate.simulate(scenario, Rule(ADAPTIVE)).rate >= 0.95 * optimum


def test_sixteen_clients_get_well_more_than_without_waiting() -> None:
    crowd = Closed(16, THINK)
    for upstream in (SHORT, LONG):
        assert run(ADAPTIVE, upstream, crowd).rate >= 1.5 * run("slot-free 1", upstream, crowd).rate


def test_a_crowd_that_streams_back_through_a_slow_proxy_is_still_merged() -> None:
    outcome = run(ADAPTIVE, LONG, Closed(16, THINK), core=CORE)
    assert outcome.batch > 14
    assert outcome.rate >= 1.35 * run("slot-free 1", LONG, Closed(16, THINK), core=CORE).rate


@pytest.mark.parametrize("share", [0.02, 0.22, 0.5])
def test_poisson_traffic_is_not_held_up(share: float) -> None:
    load = poisson(SHORT, share)
    adaptive, slot_free = (run(rule, SHORT, load, items=4000) for rule in (ADAPTIVE, "slot-free 1"))
    assert adaptive.p50 <= 1.05 * slot_free.p50
    assert adaptive.p99 <= 1.1 * slot_free.p99


@pytest.mark.parametrize("upstream", [SHORT, LONG], ids=str)
def test_at_half_the_capacity_the_slowest_percent_take_less_than_two_and_a_half_full_batches(
    upstream: Upstream,
) -> None:
    outcome = run(ADAPTIVE, upstream, poisson(upstream, 0.5), items=4000)
    assert outcome.p99 <= 2.5 * upstream.seconds(simulate.MAX_BATCH)


def test_the_adaptive_rule_learns_that_servers_work_in_parallel() -> None:
    load = poisson(PARALLEL, 0.22)
    adaptive, four = (run(rule, PARALLEL, load, items=4000) for rule in (ADAPTIVE, "slot-free 4"))
    assert adaptive.p50 <= 1.1 * four.p50


def test_the_tables_name_every_rule_and_the_picture_is_drawn(tmp_path: Path) -> None:
    cells = [
        simulate.Cell("serial", "N 4", Scenario(SHORT, Closed(4, THINK), items=100)),
        simulate.Cell("serial", "Poisson, 50%", Scenario(SHORT, poisson(SHORT, 0.5), items=100)),
        simulate.Cell("serial", "N 4", Scenario(LONG, Closed(4, THINK), items=100)),
    ]
    results = simulate.run_all(cells)
    for table in (simulate.closed_table(results), simulate.open_table(results)):
        assert all(rule.name in table for rule in simulate.RULES)
    pytest.importorskip("matplotlib")
    simulate.draw(results, tmp_path / "timing.png")
    assert (tmp_path / "timing.png").stat().st_size > 10_000


def test_tables_are_put_between_the_marks_of_a_document(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{simulate._BEGIN}\nold\n{simulate._END}\nafter\n")
    simulate.write_into(page, "new")
    assert page.read_text() == f"before\n{simulate._BEGIN}\n\nnew\n\n{simulate._END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place for the tables"):
        simulate.write_into(page, "new")
