"""The class and the flow of a call."""

from __future__ import annotations

from batching import Call
from batching.rank import ORDINARY, Flow, Rank
from tests.support.fakes import KEY, call_of


def test_a_call_is_interactive_and_of_no_flow_of_its_own_unless_told() -> None:
    assert call_of("a").rank is ORDINARY
    assert Rank() == ORDINARY == (False, None, None)


def test_a_call_keeps_the_rank_that_it_is_given() -> None:
    rank = Rank(is_bulk=True, flow=Flow("searches"), max_wait=0.5)
    assert Call([b"a"], KEY, 1.0, rank=rank).rank is rank


def test_a_flow_begins_without_calls_with_weight_one_and_no_cap() -> None:
    flow = Flow("searches")
    assert (flow.name, flow.weight, flow.most_calls, flow.calls) == ("searches", 1, None, 0)


def test_flows_of_the_same_name_are_different_flows() -> None:
    assert Flow("searches") != Flow("searches")


def test_a_flow_shows_its_cap_if_it_has_one() -> None:
    assert repr(Flow("searches", weight=2)) == "<Flow searches: weight 2, 0 calls>"
    assert repr(Flow("searches", most_calls=3)) == "<Flow searches: weight 1, 0 of 3 calls>"
