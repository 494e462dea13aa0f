"""Clean clients beside one whose texts the upstream cannot do with: theirs are answered, and it is not ejected."""

from __future__ import annotations

import itertools
from functools import cache

import pytest

from batching.errors import InputsInDoubt, NoUpstream, UpstreamFailed
from batching.isolation.verdicts import FAILURE_TTL, VERDICT_TTL
from tests.batching.isolation.bench import Sign
from tests.batching.simulation import Client, Simulation, errors_of, slowest
from upstream.breaker import Breaker

CLEAN = 8
SECONDS = 3.0
#: Texts that the upstream cannot do with.
BAD = [f"bad {number}" for number in range(10_000)]

signs = pytest.mark.parametrize("sign", Sign, ids=lambda sign: sign.value)


@cache
def slowest_without_bad_texts() -> float:
    simulation = Simulation()
    clean = simulation.clients(CLEAN)
    simulation.run(SECONDS)
    assert not errors_of(clean)
    return slowest(clean)


def assert_served(simulation: Simulation, clean: list[Client], *, each: int) -> None:
    """Every clean request has its vector, ``each`` client has made so many, and no upstream is ejected."""
    assert errors_of(clean) == []
    assert min(len(client.asked) for client in clean) >= each
    assert simulation.observer.ejections == []


def assert_told_of_their_texts(*bad: Client) -> None:
    """Each request with a bad text was told so."""
    for client in bad:
        assert client.asked
        assert len(client.errors) == len(client.asked)
        assert {isinstance(error, InputsInDoubt) for error in client.errors} == {True}


@signs
def test_a_text_that_one_client_repeats_costs_the_others_nothing(sign: Sign) -> None:
    simulation = Simulation(sign=sign)
    clean, bad = simulation.clients(CLEAN), simulation.client(itertools.repeat("poison"))
    simulation.run(2.2 * FAILURE_TTL)
    assert_served(simulation, clean, each=700)
    assert_told_of_their_texts(bad)
    assert slowest(clean) <= 2 * slowest_without_bad_texts()
    assert simulation.extra_calls <= 20  # it is asked about again whenever the verdict has ended


@signs
def test_twenty_bad_texts_that_one_client_repeats_fail_no_other_request(sign: Sign) -> None:
    simulation = Simulation(sign=sign, bad=BAD[:20])
    clean, bad = simulation.clients(CLEAN), simulation.client(itertools.cycle(BAD[:20]))
    simulation.run(SECONDS)
    assert_served(simulation, clean, each=70)
    assert_told_of_their_texts(bad)
    assert simulation.extra_calls <= simulation.calls / 2


@signs
def test_twenty_new_bad_texts_each_second_double_the_slowest_answers_at_most(sign: Sign) -> None:
    simulation = Simulation(sign=sign, bad=BAD)
    clean, bad = simulation.clients(CLEAN), simulation.client(iter(BAD), pause=0.05)
    simulation.run(SECONDS)
    assert_served(simulation, clean, each=150)
    assert_told_of_their_texts(bad)
    assert slowest(clean) <= 2 * slowest_without_bad_texts()


@signs
@pytest.mark.parametrize("clients", [1, 3, 8])
def test_new_bad_texts_in_every_batch_fail_no_other_request_either(sign: Sign, clients: int) -> None:
    simulation = Simulation(sign=sign, bad=BAD)
    clean = simulation.clients(CLEAN)
    bad = [simulation.client(iter(BAD[first::clients])) for first in range(clients)]
    simulation.run(SECONDS)
    assert_served(simulation, clean, each=15)
    assert_told_of_their_texts(*bad)


@signs
@pytest.mark.parametrize("clients", [1, 8])
def test_one_clean_client_that_asks_seldom_is_served_beside_many_with_new_bad_texts(sign: Sign, clients: int) -> None:
    simulation = Simulation(sign=sign, bad=BAD)
    clean = simulation.clients(1, pause=0.5)
    bad = [simulation.client(iter(BAD[first::clients])) for first in range(clients)]
    simulation.run(SECONDS)
    assert_served(simulation, clean, each=5)
    assert all(client.asked for client in bad)


@signs
def test_a_clean_client_is_served_where_only_bad_texts_came_before_it(sign: Sign) -> None:
    simulation = Simulation(sign=sign, bad=BAD)
    simulation.client(iter(BAD))
    clean = simulation.client((f"clean {number}" for number in itertools.count()), pause=0.1, begins_at=1.0)
    simulation.run(SECONDS)
    assert clean.errors == []


@signs
def test_bad_texts_eject_none_of_two_upstreams(sign: Sign) -> None:
    simulation = Simulation(sign=sign, upstreams=2, bad=BAD)
    clean, bad = simulation.clients(CLEAN), simulation.client(iter(BAD), pause=0.05)
    simulation.run(SECONDS)
    assert_served(simulation, clean, each=150)
    assert_told_of_their_texts(bad)
    assert max(simulation.asked) <= 1.1 * min(simulation.asked) + 10


@signs
def test_a_text_that_works_again_is_served_once_the_verdict_has_ended(sign: Sign) -> None:
    simulation = Simulation(sign=sign)
    simulation.clients(2, pause=0.1)
    mended = simulation.client(itertools.repeat("poison"), pause=0.1)
    simulation.clock.at(5.0, simulation.upstreams[0].bad.clear)
    simulation.run(5.0 + VERDICT_TTL + 1.0)
    last_error = max(asked.moment for asked in mended.asked if asked.error)
    assert 4.8 < last_error <= 5.0 + (VERDICT_TTL if sign is Sign.REFUSAL else FAILURE_TTL)
    assert mended.asked[-1].error is None


# An upstream that fails everything


@pytest.mark.parametrize("clients", [1, 2, 4, 9, 32, 100])
@pytest.mark.parametrize("healthy_for", [0.0, 1.0], ids=["from the start", "after a while"])
def test_an_upstream_that_fails_everything_is_ejected_after_a_few_calls(clients: int, healthy_for: float) -> None:
    simulation = Simulation()
    upstream = simulation.upstreams[0]
    asking = simulation.clients(clients)
    before: list[int] = []

    def break_down() -> None:
        upstream.is_broken = True
        before.append(len(upstream.batches))

    simulation.clock.at(healthy_for, break_down)
    simulation.run(healthy_for + 0.5)
    calls = len(upstream.batches) - before[0]
    assert simulation.observer.ejections == ["http://0"]
    assert Breaker.FAILURES <= calls <= 2 * Breaker.FAILURES + 2
    errors = errors_of(asking)
    assert {type(error) for error in errors} <= {UpstreamFailed, NoUpstream}
    assert {error.status for error in errors} == {502}
    assert slowest(asking, 0.9999) <= 0.2


@pytest.mark.parametrize("clients", [1, 32])
def test_while_it_fails_everything_it_gets_only_probes(clients: int) -> None:
    simulation = Simulation()
    simulation.upstreams[0].is_broken = True
    simulation.clients(clients, pause=0.2)
    simulation.run(30.0)
    assert simulation.calls <= 2 * Breaker.FAILURES + 2 + 5  # pauses of 1, 2, 4, 8 and 16 seconds


def test_when_it_works_again_all_are_served_from_the_next_probe_on() -> None:
    simulation = Simulation()
    upstream = simulation.upstreams[0]
    upstream.is_broken = True
    asking = simulation.clients(CLEAN)
    simulation.clock.at(2.0, lambda: setattr(upstream, "is_broken", False))
    simulation.run(2 * SECONDS)
    assert max(asked.moment for client in asking for asked in client.asked if asked.error) <= 3.2
    assert all(asked.error is None for client in asking for asked in client.asked if asked.moment > 3.2)


@pytest.mark.parametrize("clients", [1, 8, 64])
def test_where_one_of_two_upstreams_fails_everything_the_other_serves_all(clients: int) -> None:
    simulation = Simulation(upstreams=2)
    simulation.upstreams[1].is_broken = True
    asking = simulation.clients(clients)
    simulation.run(SECONDS)
    assert errors_of(asking) == []
    assert simulation.asked[1] <= Breaker.FAILURES + 5
    assert simulation.extra_calls == 0


@signs
def test_one_of_two_upstreams_fails_everything_and_a_client_has_bad_texts(sign: Sign) -> None:
    simulation = Simulation(upstreams=2, sign=sign, bad=BAD)
    simulation.upstreams[1].is_broken = True
    clean, bad = simulation.clients(CLEAN), simulation.client(iter(BAD), pause=0.05)
    simulation.run(SECONDS)
    assert errors_of(clean) == []
    assert "http://0" not in simulation.observer.ejections
    assert_told_of_their_texts(bad)
