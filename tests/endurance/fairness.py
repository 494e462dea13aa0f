"""A flow with many clients beside others with few: these wait little longer, and weights give items in their ratio."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.endurance.client import Crowd, Wish
from tests.endurance.stage import Report, Upstream, metric, service
from tests.endurance.windows import Latency, latency, median, rate

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.support.service import Service

#: What the p99 of the small flows may be beside the flood, as a multiple of what it is without.
MOST_P99 = 2.0
#: How far the items of a flow may be from its part by weight.
OFF = 0.1
WEIGHTS = (1, 2, 4)
OTHERS, CLIENTS_EACH = 9, 2


class Outcome(NamedTuple):
    """Latencies of the small flows without and with the flood, one of each for a round."""

    alone: list[Latency]
    beside: list[Latency]
    answers: Counter[str]


def of_flow(header: str) -> Callable[[random.Random, int], Wish]:
    """Return what a client of this flow asks."""

    def wish(chance: random.Random, number: int) -> Wish:
        return Wish([f"{header.strip()} {number} {chance.random()}"], header)

    return wish


async def flood(options: argparse.Namespace, port: int) -> Outcome:
    """Let windows with and without the flood follow one another."""
    think = options.think_ms / 1e3
    alone: list[Latency] = []
    beside: list[Latency] = []
    answers: Counter[str] = Counter()
    for _ in range(options.rounds):
        for windows in (alone, beside):
            headers = [f"X-Fairness-Id: small-{number}\r\n" for number in range(OTHERS)]
            crowds = [Crowd(port, CLIENTS_EACH, of_flow(each), timed=True, think=think) for each in headers]
            if windows is beside:
                crowds.append(Crowd(port, options.flood, of_flow("X-Fairness-Id: flood\r\n"), think=think))
            for crowd in crowds:
                crowd.start()
            await asyncio.sleep(options.settle)
            began = time.monotonic()
            await asyncio.sleep(options.seconds)
            ended = time.monotonic()
            small = [latency(crowd, began, ended) for crowd in crowds[:OTHERS]]
            windows.append(Latency(max(each.p50 for each in small), max(each.p99 for each in small)))
            for tally in await asyncio.gather(*[crowd.stop() for crowd in crowds]):
                answers += tally.outcomes
    return Outcome(alone, beside, answers)


async def weigh(options: argparse.Namespace, running: Service) -> tuple[list[float], Counter[str]]:
    """Let a flow of each weight ask for more than there is; return the items a second of each."""
    crowds = [
        Crowd(running.port, options.clients, of_flow(f"Authorization: Bearer key-{weight}\r\n")) for weight in WEIGHTS
    ]
    for crowd in crowds:
        crowd.start()
    await asyncio.sleep(options.settle)
    rates = await asyncio.gather(
        *[
            rate(
                options.seconds * options.rounds,
                lambda weight=weight: metric(running, "autobatch_flow_items_total", f'flow="weight-{weight}"'),  # type: ignore[misc]
            )
            for weight in WEIGHTS
        ]
    )
    answers: Counter[str] = Counter()
    for tally in await asyncio.gather(*[crowd.stop() for crowd in crowds]):
        answers += tally.outcomes
    return list(rates), answers


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance fairness", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--settle", type=float, default=1.5)
    parser.add_argument("--flood", type=int, default=200, help="clients of the flow that asks for more")
    parser.add_argument("--think-ms", type=float, default=50.0)
    parser.add_argument("--clients", type=int, default=64, help="of each weighted flow")
    options = parser.parse_args(argv)
    report = Report("fairness")
    behaviour = {"fixed": 20.0, "per_item": 0.5, "serial": True}
    with Upstream(**behaviour) as upstream, tempfile.TemporaryDirectory() as folder:
        with service(inference_url=upstream.url, trust_fairness_header="on") as running:
            outcome = asyncio.run(flood(options, running.port))
        keys = Path(folder) / "keys.toml"
        tables = [f'[[keys]]\nname = "weight-{each}"\nkey = "key-{each}"\nweight = {each}\n' for each in WEIGHTS]
        keys.write_text("\n".join(tables))
        with service(inference_url=upstream.url, api_keys_file=keys) as running:
            rates, answers = asyncio.run(weigh(options, running))
    answers += outcome.answers
    report.note("answers", dict(answers))
    for which in ("alone", "beside"):
        for name in Latency._fields:
            value = median([getattr(each, name) for each in getattr(outcome, which)])
            report.note(f"the slowest small flow's {name} {which}, ms", value)
    ratio = median([b.p99 for b in outcome.beside]) / median([a.p99 for a in outcome.alone])
    report.demand("its p99, beside the flood / alone", ratio, f"at most {MOST_P99}", ratio <= MOST_P99)
    for weight, got in zip(WEIGHTS, rates, strict=True):
        share = got / sum(rates) / (weight / sum(WEIGHTS))
        report.demand(f"items of weight {weight} / its part", share, f"1 ± {OFF}", abs(share - 1) <= OFF)
    report.demand("all answered 200", set(answers) == {"200"}, "True", set(answers) == {"200"})
    return report.close()
