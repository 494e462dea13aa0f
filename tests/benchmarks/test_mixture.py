"""The simulation of several groups of clients shows what docs/fairness.md says of classes and flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.mixture import Group, Mixture, Share
from benchmarks.simulate import LONG, NETWORK

INTERACTIVE = Group("interactive", 8, 0.05)
BULK = Group("bulk", 10, 0.001, 1000, is_bulk=True, begin=0.2)


def run(
    *groups: Group, seconds: float = 20.0, bulk_max_wait: float = 1e9, begin: float | None = None
) -> dict[str, Share]:
    return Mixture(LONG, list(groups), bulk_max_wait=bulk_max_wait).run(seconds, begin)


def test_one_client_waits_for_the_upstream_and_the_network_only() -> None:
    assert run(Group("one", 1, 0.05))["one"].p50 == pytest.approx(LONG.seconds(1) + 2 * NETWORK)


def test_a_mixture_repeats_itself_exactly() -> None:
    assert run(INTERACTIVE, BULK, seconds=5.0) == run(INTERACTIVE, BULK, seconds=5.0)


def test_bulk_alone_gets_all_that_the_upstream_can_do() -> None:
    assert run(BULK)["bulk"].rate == pytest.approx(LONG.capacity, rel=0.02)


def test_interactive_clients_beside_a_flood_take_little_longer_and_bulk_gets_most_of_the_rest() -> None:
    alone, both = run(INTERACTIVE)["interactive"], run(INTERACTIVE, BULK)
    assert both["interactive"].p50 <= 1.6 * alone.p50
    assert both["interactive"].p99 <= 2.2 * alone.p99
    assert both["bulk"].rate >= 0.8 * run(BULK)["bulk"].rate


def test_bulk_has_everything_once_the_interactive_clients_have_stopped() -> None:
    stopping = Group("interactive", 8, 0.05, end=8.0)
    assert run(stopping, BULK, begin=10.0)["bulk"].rate >= 0.97 * run(BULK, begin=10.0)["bulk"].rate


def test_bulk_keeps_a_part_of_the_places_beside_an_endless_interactive_load() -> None:
    both = run(Group("interactive", 64, 0.0003), BULK)
    assert both["bulk"].rate >= 0.08 * (both["bulk"].rate + both["interactive"].rate)


@pytest.mark.parametrize("keys", [1, 6, 16])
@pytest.mark.parametrize("bulk_max_wait", [1e9, 1.0])
def test_interactive_clients_beside_bulk_of_other_keys_take_little_longer(keys: int, bulk_max_wait: float) -> None:
    alone = run(INTERACTIVE)["interactive"]
    both = run(INTERACTIVE, replace(BULK, clients=16, keys=keys), bulk_max_wait=bulk_max_wait)
    assert both["interactive"].p50 <= 1.6 * alone.p50
    assert both["interactive"].p99 <= 2.2 * alone.p99
    assert both["bulk"].rate >= 0.4 * run(BULK)["bulk"].rate


def test_bulk_of_another_key_keeps_a_part_of_the_places_beside_an_endless_interactive_load() -> None:
    both = run(Group("interactive", 64, 0.0003), replace(BULK, keys=1))
    assert both["bulk"].rate >= 0.08 * (both["bulk"].rate + both["interactive"].rate)


def test_no_bulk_request_of_a_batch_waits_longer_than_it_may_and_two_calls() -> None:
    stream = Group("bulk", 1, items=32, is_bulk=True, rate=5.0, begin=0.2)
    both = run(Group("interactive", 64, 0.0003), stream, bulk_max_wait=3.0, seconds=30.0)
    assert both["bulk"].longest_wait <= 3.0 + 2 * LONG.seconds(64)


def test_a_flood_of_one_flow_leaves_the_others_within_twice_of_what_they_took() -> None:
    small = [Group(f"small {number}", 2, 0.05, weight=1) for number in range(9)]
    alone, both = run(*small), run(*small, Group("flood", 200, 0.05, weight=1))
    assert max(both[each.name].p99 for each in small) <= 2 * min(alone[each.name].p99 for each in small)


@pytest.mark.parametrize("items", [1, 7])
def test_flows_get_items_in_the_ratio_of_their_weights(items: int) -> None:
    shares = run(*[Group(str(weight), 100, items=items, weight=weight) for weight in (1, 2, 4)])
    for weight in (2, 4):
        assert shares[str(weight)].rate / shares["1"].rate == pytest.approx(weight, rel=0.1)


def test_requests_beyond_a_cap_are_refused() -> None:
    assert run(Group("capped", 30, weight=1, most_calls=10), seconds=3.0)["capped"].refused > 0
