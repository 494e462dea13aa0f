"""Sizes that were left at their defaults fit what the machine allows; chosen ones that do not are refused."""

from __future__ import annotations

import pytest

from config import Settings, sizing_problems
from config.fitting import MASTER_BYTES, THREAD_BYTES, WORKER_BYTES, fit, is_small, least_tasks, thread_stack
from config.machine import Bound, Machine

URL = ("http://a",)


def tasks(count: int) -> Machine:
    return Machine(tasks=Bound(count, f"a cgroup allows {count + 1} tasks"))


def test_a_machine_without_limits_changes_nothing() -> None:
    settings = Settings(inference_url=URL)
    assert fit(settings, Machine()) == (settings, (), ())
    assert fit(settings, tasks(10_000)).settings is settings


def test_few_tasks_lower_threads_and_admission_and_it_is_said() -> None:
    fitted = fit(Settings(inference_url=URL), tasks(300))
    assert fitted.problems == ()
    assert fitted.settings.threads == 300 - 6 - 2 * least_tasks(Settings(inference_url=URL))
    assert fitted.settings.max_concurrent_requests == fitted.settings.threads - 16
    assert fitted.settings.max_batch_size == 32
    (note,) = fitted.notes
    assert note == (
        "a cgroup allows 301 tasks, 300 are left: no room for 592 threads a worker, so threads = 276, "
        "max_concurrent_requests = 260"
    )
    assert fitted.settings.source("threads") == "lowered to fit the machine"


@pytest.mark.parametrize("count", [35, 59, 80, 150, 400])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_lowered_fits_together(count: int, workers: int) -> None:
    fitted = fit(Settings(inference_url=URL, workers=workers), tasks(workers * count))
    assert fitted.problems == ()
    assert sizing_problems(fitted.settings) == ()


def test_a_default_that_a_file_repeats_may_be_lowered_too() -> None:
    sources = dict.fromkeys(("threads", "max_concurrent_requests", "max_batch_size"), "config.toml")
    assert fit(Settings(inference_url=URL, sources=sources), tasks(100)).problems == ()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(inference_url=URL, threads=600, sources={"threads": "flag --threads"}),
        Settings(inference_url=URL, max_concurrent_requests=100),
        Settings(inference_url=URL, max_batch_size=64),
        Settings(inference_url=URL, sources={"max_concurrent_requests": "environment MAX_CONCURRENT_REQUESTS"}),
        Settings(inference_url=URL, workers=8),
    ],
)
def test_chosen_sizes_that_do_not_fit_are_refused_with_numbers(settings: Settings) -> None:
    (problem,) = fit(settings, tasks(59)).problems
    assert "a cgroup allows 60 tasks, 59 are left" in str(problem)
    assert "there is room for" in str(problem)


def test_chosen_requests_that_fit_keep_their_number() -> None:
    settings = Settings(inference_url=URL, max_concurrent_requests=20, max_batch_size=8)
    fitted = fit(settings, tasks(59))
    assert fitted.problems == ()
    assert (fitted.settings.max_concurrent_requests, fitted.settings.threads) == (20, 35)


def test_less_than_the_least_is_refused() -> None:
    (problem,) = fit(Settings(inference_url=URL), tasks(20)).problems
    assert "the defaults: 592 threads are wanted" in str(problem)


def test_little_memory_lowers_the_defaults_and_only_warns_of_what_was_chosen() -> None:
    room = WORKER_BYTES + 100 * THREAD_BYTES
    machine = Machine(memory=Bound(MASTER_BYTES + room, "a cgroup allows little"))
    fitted = fit(Settings(inference_url=URL), machine)
    assert (fitted.settings.threads, fitted.settings.max_concurrent_requests) == (100, 84)
    chosen = fit(Settings(inference_url=URL, threads=600), machine)
    assert (chosen.settings.threads, chosen.problems) == (600, ())
    assert "there is room for 100" in chosen.notes[0]


def test_of_several_limits_the_narrowest_counts() -> None:
    memory = Bound(MASTER_BYTES + WORKER_BYTES + 30 * THREAD_BYTES, "memory")
    fitted = fit(Settings(inference_url=URL), Machine(tasks=tasks(100).tasks, memory=memory))
    assert fitted.settings.threads == 30
    assert [note.partition(" = ")[0].rpartition(" ")[2] for note in fitted.notes[:2]] == ["threads", "threads"]


def test_answers_that_wait_for_slow_clients_get_a_part_of_little_memory() -> None:
    memory = Bound(MASTER_BYTES + WORKER_BYTES + 20_000_000, "a cgroup allows little")
    fitted = fit(Settings(inference_url=URL), Machine(memory=memory))
    assert fitted.settings.max_unsent_bytes == 10_000_000
    assert "a cgroup allows little: max_unsent_bytes = 10000000" in fitted.notes
    chosen = Settings(inference_url=URL, max_unsent_bytes=50_000_000)
    assert fit(chosen, Machine(memory=memory)).settings.max_unsent_bytes == 50_000_000


@pytest.mark.parametrize(
    ("room", "limit"),
    [(400_000_000, 16_000_000), (320_000_000, 16_000_000), (200_000_000, 10_000_000), (20_000_000, 2_000_000)],
)
def test_bodies_may_be_as_large_as_memory_has_room_for_their_values(room: int, limit: int) -> None:
    machine = Machine(memory=Bound(MASTER_BYTES + WORKER_BYTES + room, "a cgroup allows little"))
    fitted = fit(Settings(inference_url=URL), machine)
    assert fitted.settings.payload_limit == limit
    assert (f"a cgroup allows little: payload_limit = {limit}" in fitted.notes) == (limit < 16_000_000)
    assert fit(Settings(inference_url=URL, payload_limit=12_000_000), machine).settings.payload_limit == 12_000_000


def test_memory_that_the_processes_themselves_fill_is_warned_of() -> None:
    machine = Machine(memory=Bound(100_000_000, "a cgroup allows 100 MB"))
    *_, note = fit(Settings(max_concurrent_requests=64, threads=80), machine).notes
    assert note == "a cgroup allows 100 MB: the service needs about 300000000 bytes, and a process may be killed"


def test_memory_in_which_two_generations_of_workers_do_not_fit_is_warned_of() -> None:
    machine = Machine(memory=Bound(MASTER_BYTES + 2 * WORKER_BYTES - 1, "a cgroup"))
    assert "a reload needs about 82000000 bytes" in fit(Settings(inference_url=URL), machine).notes[-1]
    enough = Machine(memory=Bound(MASTER_BYTES + 2 * WORKER_BYTES + 592 * THREAD_BYTES + 200_000_000, "a cgroup"))
    assert fit(Settings(inference_url=URL), enough).notes == ()


def test_limited_addresses_mean_small_stacks_and_few_threads() -> None:
    machine = Machine(addresses=400_000_000, stack=8 << 20)
    stack = thread_stack(machine)
    assert stack is not None
    assert fit(Settings(inference_url=URL), machine).settings.threads * stack < 400_000_000


@pytest.mark.parametrize("stack", [None, 8 << 20, 16 << 20])
def test_usual_stacks_stay_as_they_are(stack: int | None) -> None:
    assert thread_stack(Machine(stack=stack)) is None


@pytest.mark.parametrize("stack", [16 << 10, 1 << 30])
def test_stacks_that_overrun_at_once_or_use_up_the_addresses_are_replaced(stack: int) -> None:
    chosen = thread_stack(Machine(stack=stack))
    assert chosen is not None
    assert (1 << 20) <= chosen <= (8 << 20)


def test_a_machine_is_small_with_little_memory_or_limited_addresses() -> None:
    assert is_small(Machine(addresses=1 << 40))
    assert is_small(Machine(memory=Bound(64_000_000, "a cgroup")))
    assert not is_small(Machine(memory=Bound(512_000_000, "a cgroup")))
    assert not is_small(Machine())
