"""Settings fit each other, and the server's sizes follow from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config import Settings, idle_threads, sizing_problems, thread_count, worker_connections


def only_problem(settings: Settings, threads: int | None = None, open_files_limit: int | None = None) -> str:
    (problem,) = sizing_problems(settings, threads, open_files_limit)
    return str(problem)


def test_the_defaults_fit() -> None:
    assert sizing_problems(Settings()) == ()


def test_threads_derive_from_admission_with_spare_ones() -> None:
    assert thread_count(Settings(max_concurrent_requests=100)) == 180
    assert thread_count(Settings(max_concurrent_requests=100, threads=300)) == 300


def test_idle_connections_keep_only_threads_that_neither_admission_nor_health_checks_need() -> None:
    assert idle_threads(Settings(max_concurrent_requests=100)) == 64
    assert idle_threads(Settings(max_concurrent_requests=100, threads=126)) == 10
    assert idle_threads(Settings(max_concurrent_requests=100, threads=108)) == 0


def test_too_few_threads_to_hold_every_admitted_request_are_refused() -> None:
    fits = Settings(max_concurrent_requests=100, threads=108)
    assert sizing_problems(fits) == ()
    problem = only_problem(Settings(max_concurrent_requests=100, threads=107))
    assert problem.startswith("threads = 107 (set in code): must be at least max_concurrent_requests + 8 = 108")


def test_the_threads_a_server_really_has_can_be_checked() -> None:
    assert sizing_problems(Settings(), threads=520) == ()
    assert "threads = 4 " in only_problem(Settings(), threads=4)


def test_admission_must_let_a_batch_of_single_requests_fill() -> None:
    assert sizing_problems(Settings(max_concurrent_requests=32, max_batch_size=32)) == ()
    assert "can never fill" in only_problem(Settings(max_concurrent_requests=31, max_batch_size=32))


def test_the_queue_must_hold_the_largest_request_whole() -> None:
    assert sizing_problems(Settings(max_queued_items=1000, max_client_batch_size=1000)) == ()
    problem = only_problem(Settings(max_queued_items=999, max_client_batch_size=1000))
    assert problem.startswith("max_queued_items = 999 ")


def test_the_queue_must_hold_a_batch() -> None:
    settings = Settings(max_queued_items=31, max_client_batch_size=1, max_batch_size=32)
    assert "max_batch_size = 32" in only_problem(settings)


def test_as_many_batches_must_be_in_flight_as_the_upstream_works_on() -> None:
    assert sizing_problems(Settings(max_inflight_batches=8, upstream_parallelism=8)) == ()
    assert "upstream_parallelism = 8" in only_problem(Settings(upstream_parallelism=8))


@pytest.mark.parametrize(("timing", "problems"), [("adaptive", 0), ("fixed", 1)])
def test_a_fixed_wait_must_end_before_the_deadline(timing: str, problems: int) -> None:
    settings = Settings(batch_timing=timing, max_wait_time_ms=100, request_timeout_ms=100)
    assert len(sizing_problems(settings)) == problems


def test_idle_and_rejected_clients_get_connections_above_the_threads() -> None:
    settings = Settings()
    assert worker_connections(settings, 1_000_000) - thread_count(settings) >= 2000


def test_connections_stay_below_the_limit_of_open_files() -> None:
    assert 600 < worker_connections(Settings(), 1024) < 1024


def test_no_limit_of_open_files_is_no_bound() -> None:
    assert worker_connections(Settings(), -1) == worker_connections(Settings(), 1_000_000)
    assert sizing_problems(Settings(), open_files_limit=-1) == ()


def test_the_limit_of_open_files_must_cover_the_threads() -> None:
    assert sizing_problems(Settings(), open_files_limit=1024) == ()
    problem = only_problem(Settings(), open_files_limit=512)
    assert "the limit is 512" in problem
    assert "ulimit -n" in problem


def test_even_with_too_few_files_gunicorn_gets_more_connections_than_threads() -> None:
    assert worker_connections(Settings(), 256) > thread_count(Settings())


def test_a_constant_member_cannot_be_the_list_of_texts() -> None:
    problem = only_problem(Settings(upstream_extra='{"texts":[]}', upstream_input_field="texts"))
    assert "upstream_extra" in problem
    assert "'texts', which is upstream_input_field" in problem
    assert sizing_problems(Settings(upstream_extra='{"model":"m"}', upstream_input_field="texts")) == ()


@pytest.mark.parametrize("name", ["upstream_input_field", "upstream_output_field", "upstream_extra"])
def test_what_a_plain_upstream_has_is_refused_for_another(name: str) -> None:
    value = '{"model":"m"}' if name == "upstream_extra" else "texts"
    given: dict[str, Any] = {name: value}
    settings = Settings(**given)
    problem = only_problem(replace(settings, upstream_api="tei"))
    assert problem.startswith(f"{name} = {value}")
    assert "needs upstream_api = plain, and it is tei" in problem
    for api in ("auto", "plain"):
        assert sizing_problems(replace(settings, upstream_api=api)) == ()
