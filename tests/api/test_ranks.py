"""The class and the flow of a request follow from its headers, its client, its size and its body, in a fixed order."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.environ import CLIENT
from api.error_forms import RequestError
from api.ranks import Client, GuestFlows, Ranks
from batching.rank import ORDINARY, Flow, Rank
from config import Settings

SEARCH = Client(Flow("search"))
IMPORT = Client(Flow("import"), is_bulk=True)

SETTINGS = Settings(bulk_from_items=10, max_wait_time_ms=200, bulk_max_wait_ms=5000)


def rank_of(
    *,
    items: int = 1,
    asks_for_bulk: bool = False,
    client: Client | None = None,
    priority: str | None = None,
    wait: str | None = None,
    identity: str | None = None,
    settings: Settings = SETTINGS,
) -> Rank:
    given: dict[str, Any] = {
        "HTTP_X_PRIORITY": priority,
        "HTTP_X_MAX_WAIT_MS": wait,
        "HTTP_X_FAIRNESS_ID": identity,
        CLIENT: client,
    }
    environ = {name: value for name, value in given.items() if value is not None}
    return Ranks(settings).of(environ, items, asks_for_bulk)


def refusal(**given: Any) -> str:
    with pytest.raises(RequestError) as refused:
        rank_of(**given)
    assert refused.value.status == 400
    return refused.value.message


# The class


def test_a_request_that_says_nothing_is_ordinary() -> None:
    assert rank_of() is ORDINARY


@pytest.mark.parametrize(("items", "is_bulk"), [(9, False), (10, False), (11, True)])
def test_a_request_of_many_inputs_is_bulk(items: int, is_bulk: bool) -> None:
    assert rank_of(items=items).is_bulk is is_bulk


def test_the_size_can_be_told_not_to_matter() -> None:
    assert rank_of(items=100_000, settings=Settings(bulk_from_items=0)) is ORDINARY


def test_a_body_may_ask_for_bulk() -> None:
    assert rank_of(asks_for_bulk=True).is_bulk


@pytest.mark.parametrize(
    ("word", "is_bulk"), [("interactive", False), ("bulk", True), ("Bulk", True), (" INTERACTIVE ", False)]
)
def test_the_header_comes_before_size_and_body(word: str, is_bulk: bool) -> None:
    assert rank_of(priority=word).is_bulk is is_bulk
    assert rank_of(priority=word, items=11, asks_for_bulk=True).is_bulk is is_bulk


@pytest.mark.parametrize("word", ["", "high", "bulk,bulk", "1", "bulké"])
def test_another_priority_is_refused_by_the_name_of_its_header(word: str) -> None:
    assert refusal(priority=word) == "X-Priority must be interactive or bulk"
    assert refusal(priority=word, client=IMPORT) == "X-Priority must be interactive or bulk"


@pytest.mark.parametrize("priority", [None, "interactive", "bulk"])
def test_a_client_of_class_bulk_is_never_interactive(priority: str | None) -> None:
    assert rank_of(client=IMPORT, priority=priority) == Rank(is_bulk=True, flow=IMPORT.flow)


def test_a_client_of_class_interactive_may_send_bulk() -> None:
    assert rank_of(client=SEARCH) == Rank(flow=SEARCH.flow)
    assert rank_of(client=SEARCH, priority="bulk") == Rank(is_bulk=True, flow=SEARCH.flow)
    assert rank_of(client=SEARCH, items=11).is_bulk


# How long it may be held back


@pytest.mark.parametrize(
    ("told", "seconds"), [("0", 0.0), ("000", 0.0), ("1", 0.001), ("0150", 0.15), ("200", 0.2), ("201", 0.2)]
)
def test_an_interactive_request_is_held_back_as_long_as_it_says_within_the_setting(told: str, seconds: float) -> None:
    assert rank_of(wait=told) == Rank(max_wait=seconds)


@pytest.mark.parametrize(("told", "seconds"), [("0", 0.0), ("4999", 4.999), ("5001", 5.0), ("9" * 5000, 5.0)])
def test_a_bulk_request_may_be_held_back_for_longer(told: str, seconds: float) -> None:
    assert rank_of(wait=told, priority="bulk") == Rank(is_bulk=True, max_wait=seconds)


@pytest.mark.parametrize("told", ["", "-1", "+1", "1.5", "1e3", "abc", "1 0", "\u0661", "\u00b2", "0x1", "1,1"])
def test_what_is_no_whole_number_is_refused_by_the_name_of_its_header(told: str) -> None:
    assert refusal(wait=told) == "X-Max-Wait-Ms must be a whole number of milliseconds, 0 or more"


@given(
    items=st.integers(1, 100),
    asks_for_bulk=st.booleans(),
    client=st.sampled_from([None, SEARCH, IMPORT]),
    priority=st.none() | st.sampled_from(["interactive", "bulk"]) | st.text(),
    wait=st.none() | st.integers().map(str) | st.text(),
    identity=st.none() | st.text(),
)
def test_any_headers_give_a_rank_within_the_bounds_or_a_refusal(
    *,
    items: int,
    asks_for_bulk: bool,
    client: Client | None,
    priority: str | None,
    wait: str | None,
    identity: str | None,
) -> None:
    try:
        rank = rank_of(
            items=items, asks_for_bulk=asks_for_bulk, client=client, priority=priority, wait=wait, identity=identity
        )
    except RequestError as refused:
        assert refused.status == 400  # noqa: PT017 - a refusal is one of the outcomes
    else:
        assert rank.flow is (None if client is None else client.flow)
        assert rank.is_bulk or client is not IMPORT
        assert (rank.max_wait is None) is (wait is None)
        assert rank.max_wait is None or 0 <= rank.max_wait <= (5 if rank.is_bulk else 0.2)


# The flow


def test_nothing_but_a_key_names_a_flow_unless_the_header_is_trusted() -> None:
    assert rank_of(identity="a") is ORDINARY
    assert rank_of(identity="é" * 1000) is ORDINARY


TRUSTING = Settings(trust_fairness_header="on")


@pytest.mark.parametrize("identity", ["a", "team 7/search", "~" * 128])
def test_the_header_names_a_flow_where_it_is_trusted(identity: str) -> None:
    flow = rank_of(identity=identity, settings=TRUSTING).flow
    assert flow is not None
    assert (flow.name, flow.weight, flow.most_calls) == (f"X-Fairness-Id {identity}", 1, None)
    assert rank_of(settings=TRUSTING) is ORDINARY


@pytest.mark.parametrize("identity", ["", "~" * 129, "é", "a\tb", "a\x7f"])
def test_an_identity_that_is_no_short_ascii_is_refused_by_the_name_of_its_header(identity: str) -> None:
    assert refusal(identity=identity, settings=TRUSTING).startswith("X-Fairness-Id must be 1 to 128 printable")


def test_a_key_with_a_name_comes_before_the_header() -> None:
    assert rank_of(identity="a", client=SEARCH, settings=TRUSTING).flow is SEARCH.flow


def test_calls_of_one_identity_share_a_flow() -> None:
    flows = GuestFlows()
    one = flows.flow("a")
    assert flows.flow("a") is one
    assert flows.flow("b") is not one


def test_a_flow_ends_with_its_last_call() -> None:
    flows = GuestFlows()
    ranks = [Rank(flow=flows.flow("a")), Rank(flow=flows.flow("a")), Rank(flow=flows.flow("b"))]
    assert len(flows) == 2
    ranks.pop(0)
    assert len(flows) == 2
    ranks.clear()
    gc.collect()
    assert len(flows) == 0


def test_threads_that_name_an_identity_at_once_get_one_flow() -> None:
    flows = GuestFlows()
    start = threading.Barrier(8)
    got: list[Flow] = []

    def ask() -> None:
        start.wait(10)
        got.append(flows.flow("a"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(got) == 8
    assert len({id(flow) for flow in got}) == 1
