"""The monitor weighs health checks against calls that the upstream answers, and tries it out where both are silent."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest

from batching.errors import UpstreamBroke, UpstreamError, UpstreamFailed, UpstreamMisconfigured, UpstreamTimeout
from tests.upstream.monitor_bench import URL, MonitorBench
from upstream.dialects.dialect import UpstreamInfo
from upstream.health import BUSY_FOR, FIRST_TRIAL, LAST_TRIAL, Health
from upstream.member import HUNG
from upstream.monitor import PROBE_TIMEOUT

REFUSED = Health(False, "connection refused")
NO_HEALTH = Health(False, "GET /health is answered with status 404", is_unknown=True)
WRONG_KEY = UpstreamMisconfigured("the upstream answered with status 401", reason="status 401")


@pytest.fixture
def bench() -> MonitorBench:
    return MonitorBench()


# Batches that succeed


def test_a_batch_that_succeeds_proves_readiness(bench: MonitorBench) -> None:
    bench.succeeds()
    assert bench.monitor.ready
    assert bench.observer.states == [(URL, True)]


def test_it_does_so_where_the_check_has_failed(bench: MonitorBench) -> None:
    bench.upstream.says = REFUSED
    bench.look()
    bench.succeeds()
    assert (bench.monitor.ready, bench.monitor.reason) == (True, "")
    assert bench.observer.states == [(URL, False), (URL, True)]


def test_the_batch_of_another_upstream_does_not(bench: MonitorBench) -> None:
    bench.fails(None, "http://another")
    assert not bench.monitor.ready


def test_its_limits_are_read_at_the_next_look(bench: MonitorBench) -> None:
    bench.upstream.told = UpstreamInfo("model", 8, 20)
    bench.succeeds()
    bench.look()
    assert (bench.capacity.batch_size, len(bench.upstream.questions)) == (8, 1)


def test_an_upstream_too_busy_to_answer_its_check_is_ready_while_batches_succeed(bench: MonitorBench) -> None:
    bench.look()
    bench.let_time_out()
    for _ in range(100):
        bench.succeeds()
        bench.clock.time += BUSY_FOR - PROBE_TIMEOUT
        assert bench.look()
    assert bench.observer.states == [(URL, True)]


def test_when_none_has_succeeded_for_a_while_a_late_answer_counts(bench: MonitorBench) -> None:
    bench.look()
    bench.let_time_out()
    bench.succeeds()
    bench.clock.time += BUSY_FOR - PROBE_TIMEOUT + 0.001
    assert not bench.look()
    assert bench.monitor.reason == "no answer in time"


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_check_that_fails_at_once_counts_unless_a_batch_has_come_back_since_it_began(
    bench: MonitorBench, meanwhile: bool
) -> None:
    bench.look()
    bench.succeeds()
    bench.clock.time += 0.001
    bench.upstream.says = REFUSED
    if meanwhile:
        bench.upstream.meanwhile = bench.succeeds
    assert bench.look() is meanwhile


# Servers without a health check


def test_a_server_without_a_health_check_is_tried_out(bench: MonitorBench) -> None:
    bench.upstream.says = NO_HEALTH
    assert bench.look()
    assert bench.upstream.trials == [PROBE_TIMEOUT]
    assert len(bench.upstream.questions) == 1


def test_once_batches_have_succeeded_that_is_not_needed(bench: MonitorBench) -> None:
    bench.upstream.says = NO_HEALTH
    bench.succeeds()
    for _ in range(10):
        bench.clock.time += 60.0
        assert bench.look()
    assert bench.upstream.trials == []


def test_a_server_that_fails_its_trial_is_not_ready_and_says_why(bench: MonitorBench) -> None:
    bench.upstream.says, bench.upstream.trial = NO_HEALTH, Health(False, "status 404")
    assert not bench.look()
    assert bench.observer.reasons == ["status 404"]


def test_trials_that_fail_are_made_ever_more_seldom(bench: MonitorBench) -> None:
    bench.upstream.says, bench.upstream.trial = NO_HEALTH, Health(False, "status 404")
    moments = []
    while bench.clock.time < 128.0:
        before = len(bench.upstream.trials)
        assert not bench.look()
        if len(bench.upstream.trials) > before:
            moments.append(bench.clock.time)
        bench.clock.time += 0.25
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses == [FIRST_TRIAL, 2.0, 4.0, 8.0, *[LAST_TRIAL] * (len(pauses) - 4)]
    assert len(pauses) > 8


def test_a_trial_that_succeeds_makes_it_ready_and_the_next_looks_need_no_other_for_a_while(
    bench: MonitorBench,
) -> None:
    bench.upstream.says, bench.upstream.trial = NO_HEALTH, Health(False, "status 404")
    bench.look()
    bench.upstream.trial = Health(True)
    bench.clock.time += FIRST_TRIAL
    assert bench.look()
    bench.succeeds()
    bench.clock.time += 5.0
    assert bench.look()
    assert len(bench.upstream.trials) == 2


# Calls that show a mistake, or hang, while the health check answers


def test_a_call_that_shows_a_mistake_of_configuration_has_it_tried_out(bench: MonitorBench) -> None:
    bench.look()
    bench.upstream.trial = Health(False, "calls are answered with status 401")
    bench.clock.time += 1.0
    bench.fails(WRONG_KEY)
    assert not bench.look()
    assert bench.monitor.reason == "calls are answered with status 401"
    assert len(bench.upstream.trials) == 1


def test_what_one_client_asks_for_leaves_it_ready_and_costs_few_trials(bench: MonitorBench) -> None:
    bench.look()
    while bench.clock.time < 64.0:
        bench.clock.time += 0.5
        bench.fails(WRONG_KEY)
        assert bench.look()
    assert bench.observer.states == [(URL, True)]
    assert len(bench.upstream.trials) < 10


def test_a_mistake_that_no_trial_shows_makes_it_not_ready_at_once(bench: MonitorBench) -> None:
    bench.look()
    bench.clock.time += 1.0
    bench.fails(UpstreamMisconfigured("different models", reason="its vectors have 3 numbers"))
    assert not bench.look()
    assert (bench.monitor.reason, bench.upstream.trials) == ("its vectors have 3 numbers", [])


def test_once_it_is_mended_a_trial_shows_it(bench: MonitorBench) -> None:
    bench.look()
    bench.upstream.trial = Health(False, "status 401")
    bench.clock.time += 1.0
    bench.fails(WRONG_KEY)
    for _ in range(20):
        assert not bench.look()
        bench.clock.time += 0.5
    bench.upstream.trial = Health(True)
    bench.clock.time += LAST_TRIAL
    assert bench.look()


def test_or_a_batch_that_succeeds_does(bench: MonitorBench) -> None:
    bench.look()
    bench.clock.time += 1.0
    bench.upstream.trial = Health(False, "status 401")
    bench.fails(WRONG_KEY)
    assert not bench.look()
    bench.succeeds()
    assert bench.monitor.ready
    assert bench.look()
    assert len(bench.upstream.trials) == 1


@pytest.mark.parametrize(
    ("error", "took"), [(WRONG_KEY, 0.1), (UpstreamTimeout("late"), HUNG)], ids=["a mistake", "hung"]
)
def test_what_one_call_shows_is_out_of_date_once_another_has_succeeded(
    bench: MonitorBench, error: UpstreamError, took: float
) -> None:
    bench.look()
    bench.clock.time += 1.0
    bench.upstream.trial = Health(False, "no answer in time")
    bench.fails(error, took=took)
    bench.succeeds()
    assert bench.look()
    assert bench.observer.states == [(URL, True)]


@pytest.mark.parametrize(("took", "is_tried"), [(HUNG - 0.001, False), (HUNG, True), (30.0, True)])
def test_a_call_that_hung_has_it_tried_out(bench: MonitorBench, took: float, is_tried: bool) -> None:
    bench.look()
    bench.clock.time += 1.0
    bench.upstream.trial = Health(False, "no answer in time")
    bench.fails(UpstreamTimeout("late"), took=took)
    assert bench.look() is not is_tried
    assert len(bench.upstream.trials) == is_tried


def test_all_the_time_that_a_call_gets_is_enough(bench: MonitorBench) -> None:
    bench.look()
    bench.clock.time += 1.0
    bench.upstream.timeout = 0.5
    bench.upstream.trial = Health(False, "no answer in time")
    bench.fails(UpstreamTimeout("late"), took=0.5)
    assert not bench.look()


@pytest.mark.parametrize("error", [UpstreamFailed("500"), UpstreamBroke("reset"), UpstreamTimeout("late")], ids=repr)
def test_other_failures_need_no_trial(bench: MonitorBench, error: UpstreamError) -> None:
    bench.look()
    bench.clock.time += 1.0
    bench.fails(error)
    assert bench.look()
    assert bench.upstream.trials == []


def test_bad_inputs_do_not_even_make_it_look(bench: MonitorBench) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.time += 1.0
    bench.fails(UpstreamFailed("500"))
    bench.monitor.check(max_age=10)
    assert bench.probes == 1


# Models


def test_an_upstream_of_another_model_than_the_first_that_told_is_not_ready(bench: MonitorBench) -> None:
    bench.identities.told("http://first", "another")
    assert not bench.look()
    assert bench.observer.reasons == ["it serves 'model', and http://first serves 'another'"]


def test_batches_that_succeed_do_not_make_it_so(bench: MonitorBench) -> None:
    bench.identities.told("http://first", "another")
    bench.look()
    bench.succeeds()
    assert not bench.monitor.ready


def test_nor_do_those_that_were_under_way_when_its_model_was_read(bench: MonitorBench) -> None:
    bench.identities.told("http://first", "another")
    bench.succeeds()  # before the first look
    for _ in range(3):
        assert not bench.look()
        bench.succeeds()
        assert not bench.monitor.ready
    assert bench.observer.states == [(URL, True), (URL, False)]


def test_nor_does_a_look_at_which_it_could_not_be_asked_for_its_model(bench: MonitorBench) -> None:
    bench.identities.told("http://first", "another")
    bench.look()
    bench.upstream.told = None
    assert not bench.look()


def test_it_is_asked_again_until_it_serves_that_model(bench: MonitorBench) -> None:
    bench.identities.told("http://first", "another")
    bench.check_each(True, True)
    bench.upstream.told = UpstreamInfo("another", 32, 512)
    assert bench.check_each(True) == [True]
    assert len(bench.upstream.questions) == 3


def test_an_upstream_that_has_gone_is_forgotten(bench: MonitorBench) -> None:
    bench.look()
    assert bench.upstream.departures == 0
    bench.upstream.says = REFUSED
    for _ in range(3):
        bench.look()
    assert bench.upstream.departures == 1
    assert bench.identities.difference(URL) is None


def test_of_several_upstreams_only_a_look_makes_one_ready(bench: MonitorBench) -> None:
    bench.identities.expect([URL, "http://first"])
    bench.identities.told("http://first", "another")
    bench.succeeds()
    assert not bench.monitor.ready
    assert URL in bench.identities.awaited
    assert not bench.look()
    assert bench.identities.awaited == {"http://first"}


def test_an_upstream_of_another_api_than_the_first_is_not_ready(bench: MonitorBench) -> None:
    bench.identities.speaks("http://first", "openai")
    assert not bench.look()
    assert bench.monitor.reason == "it speaks 'tei', and http://first speaks 'openai'"


def test_the_model_of_one_that_is_refused_is_logged_once(bench: MonitorBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="upstream.monitor")
    bench.identities.told("http://first", "another")
    bench.check_each(True, True, True)
    assert [record.getMessage() for record in caplog.records] == ["upstream serves model"]
