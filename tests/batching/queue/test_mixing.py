"""When a lane's batch is due and what goes into it, where bulk waits, or flows, or a call with a limit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Call, FixedTiming
from batching.clock import NEVER
from batching.queue.lanes import Lane
from batching.queue.mixing import decide, is_interactive_about, make_up
from batching.rank import Flow, Rank
from batching.timing.classes import ABOUT
from batching.timing.rule import BULK, FULL, HOLD, MAX_WAIT, PROBE, Decision
from tests.support.fakes import KEY, capacity_of, items_of, limits_of

if TYPE_CHECKING:
    from batching.errors import ProxyError
    from batching.timing.rule import LaneState

MOST, MAX_HELD, BULK_WAIT = 8, 0.1, 5.0


class Rule(FixedTiming):
    """The classic rule, of which the test says how many servers it knows and what it answers."""

    def __init__(self, servers: int | None = 1) -> None:
        super().__init__(MAX_HELD)
        self.servers = servers
        self.answer: Decision | None = None
        self.is_curious = False

    def wants_probe(self, size: int, now: float) -> bool:
        return self.is_curious

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        return self.answer or super().decide(lane, in_flight, now)


def lane_of(rule: Rule, max_batch_size: int = MOST) -> Lane:
    return Lane(
        KEY,
        rule,
        limits_of(bulk_max_wait=BULK_WAIT, max_wait=MAX_HELD),
        capacity_of(max_batch_size=max_batch_size),
    )


@pytest.fixture
def rule() -> Rule:
    return Rule()


@pytest.fixture
def lane(rule: Rule) -> Lane:
    return lane_of(rule)


def enter(
    lane: Lane,
    count: int = 1,
    *,
    at: float = 0.0,
    is_bulk: bool = False,
    flow: Flow | None = None,
    max_wait: float | None = None,
) -> Call:
    call = Call(items_of(*[f"{at} {n}" for n in range(count)]), KEY, NEVER, rank=Rank(is_bulk, flow, max_wait))
    call.arrived = at
    lane.enter(call)
    return call


def needed(call: Call) -> ProxyError | None:
    return None


def taken(lane: Lane, now: float) -> tuple[int, int]:
    """Return how many interactive and bulk items the next batch has."""
    parts = make_up(lane, now, needed).parts
    bulk = sum(part.stop - part.start for part in parts if part.call.rank.is_bulk)
    return sum(part.stop - part.start for part in parts) - bulk, bulk


# ---- bulk alone ---------------------------------------------------------------------------------


def test_bulk_alone_leaves_as_soon_as_a_server_is_free(lane: Lane) -> None:
    enter(lane, is_bulk=True)
    assert decide(lane, 0, 0.0) is BULK
    assert decide(lane, 1, 0.0).due > 0.0


def test_a_whole_batch_of_bulk_alone_leaves_behind_another(lane: Lane) -> None:
    enter(lane, MOST, is_bulk=True)
    assert decide(lane, 1, 0.0) is FULL


def test_no_second_batch_of_bulk_leaves_behind_those_in_service(lane: Lane) -> None:
    """All of them would stand before the first interactive item that comes."""
    enter(lane, 5 * MOST, is_bulk=True)
    assert decide(lane, 2, 0.0) is HOLD


def test_bulk_waits_for_the_classic_rules_wait_where_no_number_of_servers_is_known() -> None:
    lane = lane_of(Rule(servers=None))
    enter(lane, is_bulk=True)
    assert decide(lane, 3, 0.0) == Decision(MAX_HELD, BULK.reason)
    assert decide(lane, 3, MAX_HELD) is BULK
    enter(lane, MOST - 1, is_bulk=True)
    assert decide(lane, 3, 0.0).due <= 0.0


@pytest.mark.parametrize(("own", "due"), [(0.0, 0.0), (0.04, 0.04), (2.0, MAX_HELD)])
def test_a_bulk_call_that_is_to_be_held_back_for_less_is_so_under_the_classic_rule_too(own: float, due: float) -> None:
    lane = lane_of(Rule(servers=None))
    enter(lane, is_bulk=True, max_wait=own)
    assert max(decide(lane, 0, 0.0).due, 0.0) == pytest.approx(due)


# ---- bulk beside interactive items --------------------------------------------------------------


def test_interactive_items_are_about_while_they_wait_or_travel_and_for_a_while_after(lane: Lane) -> None:
    enter(lane, is_bulk=True)
    assert not is_interactive_about(lane, 0.0)
    lane.in_flight_items = 1
    assert is_interactive_about(lane, 100.0)
    lane.in_flight_items = 0
    enter(lane, at=100.0)
    assert is_interactive_about(lane, 200.0)
    lane.drop(lane.calls[0])
    assert is_interactive_about(lane, 100.0 + ABOUT - 0.01)
    assert not is_interactive_about(lane, 100.0 + ABOUT)


def test_bulk_leaves_one_of_several_servers_to_interactive_items() -> None:
    lane = lane_of(Rule(servers=3))
    lane.seen.at = 0.0
    enter(lane, 100, is_bulk=True)
    assert decide(lane, 1, 0.5) is BULK
    assert decide(lane, 2, 0.5) == Decision(BULK_WAIT, BULK.reason)
    assert decide(lane, 2, ABOUT) is FULL  # none has come for a while


def test_a_whole_batch_of_bulk_is_the_probe_that_shows_whether_there_is_one_more_server() -> None:
    lane = lane_of(rule := Rule(servers=2))
    lane.seen.at = 0.0
    rule.is_curious = True
    enter(lane, MOST - 1, is_bulk=True)
    assert decide(lane, 2, 0.5) is HOLD
    enter(lane, is_bulk=True)
    assert decide(lane, 2, 0.5) is PROBE
    assert decide(lane, 3, 0.5) is HOLD
    assert decide(lane, 1, 0.5) == Decision(BULK_WAIT, BULK.reason)


def test_bulk_that_has_aged_may_have_the_last_server_but_queues_behind_no_other_batch() -> None:
    lane = lane_of(Rule(servers=2))
    enter(lane, at=BULK_WAIT)  # an interactive one, held for a fuller batch
    enter(lane, is_bulk=True)
    assert decide(lane, 1, BULK_WAIT) is BULK
    assert decide(lane, 2, BULK_WAIT) == Decision(BULK_WAIT + MAX_HELD, MAX_WAIT.reason)


def test_interactive_items_that_are_due_leave_by_the_rule(lane: Lane, rule: Rule) -> None:
    enter(lane)
    enter(lane, is_bulk=True)
    rule.answer = PROBE
    assert decide(lane, 1, 0.0) is PROBE


def test_an_interactive_item_that_waits_for_a_fuller_batch_leaves_with_bulk(lane: Lane) -> None:
    enter(lane, is_bulk=True)
    enter(lane)
    assert decide(lane, 0, 0.0) is BULK
    assert taken(lane, 0.0) == (1, 1)


# ---- what goes in -------------------------------------------------------------------------------


def test_interactive_items_come_first_and_leave_bulk_its_floor(lane: Lane) -> None:
    enter(lane, 100, is_bulk=True)
    enter(lane, 100)
    assert taken(lane, 0.0) == (MOST - 1, 1)


def test_bulk_that_has_aged_comes_first(lane: Lane) -> None:
    enter(lane, 3, is_bulk=True)
    enter(lane, 100)
    assert taken(lane, BULK_WAIT) == (MOST - 3, 3)


def test_aged_bulk_has_half_of_the_places_where_interactive_items_wait(lane: Lane) -> None:
    """A flood of bulk that comes faster than it is served has aged all the time."""
    enter(lane, 100, is_bulk=True)
    enter(lane, 100)
    assert [taken(lane, BULK_WAIT) for _ in range(3)] == [(4, 4)] * 3


def test_aged_bulk_and_interactive_items_take_turns_where_one_of_them_fills_a_batch() -> None:
    lane = lane_of(Rule(), max_batch_size=1)
    enter(lane, 100, is_bulk=True)
    enter(lane, 100)
    assert [taken(lane, BULK_WAIT) for _ in range(4)] == [(0, 1), (1, 0)] * 2


def test_aged_bulk_takes_no_turns_where_no_interactive_item_waits(lane: Lane) -> None:
    enter(lane, 100, is_bulk=True)
    assert [taken(lane, BULK_WAIT) for _ in range(2)] == [(0, 8), (0, 8)]


def test_flows_share_the_places_of_their_own_class(lane: Lane) -> None:
    flows = [Flow("one"), Flow("two")]
    for is_bulk in (True, False):
        for flow in flows:
            enter(lane, 100, is_bulk=is_bulk, flow=flow)
    first, second = make_up(lane, 0.0, needed), make_up(lane, 0.0, needed)
    parts = [*first.parts, *second.parts]
    count = {
        (flow, is_bulk): sum(
            part.stop - part.start
            for part in parts
            if part.call.rank.flow is flow and part.call.rank.is_bulk is is_bulk
        )
        for flow in flows
        for is_bulk in (True, False)
    }
    assert {count[flow, False] for flow in flows} == {7}
    assert {count[flow, True] for flow in flows} == {1}


# ---- a call with a limit of its own -------------------------------------------------------------


def test_a_call_with_a_limit_of_its_own_is_not_held_back_for_longer(lane: Lane) -> None:
    enter(lane)
    enter(lane, at=0.01, max_wait=0.02)
    assert decide(lane, 0, 0.01) == Decision(0.03, MAX_WAIT.reason)
    assert decide(lane, 0, 0.03) is MAX_WAIT


def test_its_limit_is_of_no_use_while_no_server_is_free(lane: Lane) -> None:
    enter(lane, max_wait=0.0)
    assert decide(lane, 1, 0.0) == Decision(MAX_HELD, MAX_WAIT.reason)


def test_a_longer_limit_than_the_rules_changes_nothing(lane: Lane) -> None:
    enter(lane, max_wait=50.0)
    assert decide(lane, 0, 0.0) == Decision(MAX_HELD, MAX_WAIT.reason)


def test_the_limit_goes_with_its_call(lane: Lane) -> None:
    enter(lane, at=0.0)
    pressing = enter(lane, at=0.01, max_wait=0.02)
    later = enter(lane, at=0.02, max_wait=0.05)
    pressing.done = True
    lane.drop(pressing)
    assert lane.pressing == pytest.approx(0.07)
    later.done = True
    lane.drop(later)
    assert lane.pressing == NEVER


# ---- flows --------------------------------------------------------------------------------------


def test_what_waits_of_several_flows_is_held_while_no_server_is_free(lane: Lane) -> None:
    enter(lane, MOST, at=0.0, flow=Flow("one"))
    enter(lane, MOST, at=0.1, flow=Flow("two"))
    assert decide(lane, 0, 0.2) is FULL
    assert decide(lane, 1, 0.2) == Decision(0.1 + ABOUT, FULL.reason)
    assert decide(lane, 1, 0.1 + ABOUT) is FULL


def test_what_waits_of_one_flow_leaves_by_the_rule(lane: Lane) -> None:
    enter(lane, MOST, flow=Flow("one"))
    assert decide(lane, 1, 0.2) is FULL


def test_a_probe_leaves_though_several_flows_wait(lane: Lane, rule: Rule) -> None:
    for name in ("one", "two"):
        enter(lane, flow=Flow(name))
    rule.answer = PROBE
    assert decide(lane, 1, 0.0) is PROBE
