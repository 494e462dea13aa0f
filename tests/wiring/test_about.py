"""What the upstreams say of themselves reaches the routes with the next look."""

from __future__ import annotations

import pytest

from api.apis.about import About
from api.apis.query import Bounds
from batching import Capacity, Task
from tests.upstream.pool_bench import PoolBench
from upstream.dialects.dialect import UpstreamInfo
from wiring.about import Knowledge, about, bounds


def test_before_an_upstream_has_told_only_our_own_limits_are_known() -> None:
    assert about("", None, 2048) == About("", max_items=2048)
    assert bounds(None, 2048, 32) == Bounds(2048, Task.EMBED, None, 32)


def test_a_model_that_is_alone_is_the_one_that_may_be_asked_for() -> None:
    info = UpstreamInfo("bge", 32, 512, raw=b"{}")
    assert about("tei", info, 2048) == About("tei", "bge", ("bge",), b"{}", 2048)


def test_of_several_models_all_may_be_asked_for() -> None:
    info = UpstreamInfo(None, None, None, models=("a", "b"))
    assert about("openai", info, 10) == About("openai", None, ("a", "b"), None, 10)


@pytest.mark.parametrize(
    ("purpose", "task"),
    [(None, Task.EMBED), ("embedding", Task.EMBED), ("classifier", Task.CLASSIFY), ("reranker", Task.CLASSIFY)],
)
def test_what_the_model_is_for_decides_what_a_route_of_several_tasks_stands_for(
    purpose: str | None, task: Task
) -> None:
    assert bounds(UpstreamInfo("m", 8, 512, purpose=purpose), 2048, 8) == Bounds(2048, task, "m", 8)


def test_a_look_brings_what_has_changed() -> None:
    bench = PoolBench(2)
    knowledge = Knowledge(bench.pool.speakers, Capacity(batches=4, batch_size=16), 100)
    assert knowledge.get_about() == About("tei", max_items=100)
    bench.upstreams[1].known = UpstreamInfo("bge", 32, 512)
    knowledge.on_look(bench.upstreams[1].url)
    assert knowledge.get_about() == About("tei", "bge", ("bge",), None, 100)
    assert knowledge.get_bounds() == Bounds(100, Task.EMBED, "bge", 16)
    bench.upstreams[1].known = UpstreamInfo("e5", 32, 512)
    knowledge.on_state(bench.upstreams[1].url, ready=True)
    assert knowledge.get_bounds().model == "e5"


def test_the_model_that_the_settings_ask_for_is_the_one_that_is_told() -> None:
    bench = PoolBench(1)
    bench.upstreams[0].known = UpstreamInfo(None, None, None, models=("a", "b"))
    knowledge = Knowledge(bench.pool.speakers, Capacity(batches=4, batch_size=16), 100, "b")
    assert knowledge.get_about().models == ("b",)
    assert knowledge.get_bounds().model == "b"
