"""Simulates hosted upstreams with rate limits: the table of docs/fairness.md on what pacing makes of an account.

`python -m benchmarks.simulate_limits` prints it; `--write FILE` puts it into a document. ``benchmarks/mixture.py`` is
the simulation, ``benchmarks/hosted.py`` the upstream.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.hosted import AccountOf
from benchmarks.mixture import Group, Mixture
from benchmarks.rate_limits import BUCKET, MINUTE, NONE, SECONDS, SLIDING, Rates
from benchmarks.report import table
from benchmarks.simulate import LONG, write_into

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Simulated seconds of a run.
LASTS = 600.0
CALLS, TOKENS = 60, 100_000
#: Clients of single texts that ask again once they are answered.
CROWD = Group("clients", 40, 0.002)
#: Lists so long that the tokens are what is short.
LISTS = Group("clients", 40, 0.002, items=100)

_ALL = Rates(CALLS, TOKENS)
_TOLD = (CALLS, TOKENS)
ACCOUNTS = {
    "windows of 60 s": AccountOf(_ALL),
    "windows of 10 s": AccountOf(Rates(CALLS, TOKENS, window=10.0, headers=SECONDS)),
    "windows of 1 s": AccountOf(Rates(CALLS, TOKENS, window=1.0)),
    "a bucket": AccountOf(Rates(CALLS, TOKENS, counts_by=BUCKET)),
    "any 60 s, no reset told": AccountOf(Rates(CALLS, TOKENS, counts_by=SLIDING)),
    "windows of 60 s, no headers": AccountOf(Rates(CALLS, TOKENS, headers=NONE)),
    "windows of 60 s, no headers, but settings": AccountOf(Rates(CALLS, TOKENS, headers=NONE), _TOLD),
    "windows of 60 s, calls not paced": AccountOf(_ALL, is_paced=False),
}


class Job(NamedTuple):
    """One run: what the account allows, and who asks."""

    account: AccountOf
    group: Group

    def run(self) -> Spent:
        mixture = Mixture(LONG, [self.group], account=self.account)
        share = mixture.run(LASTS, begin=0.0)[self.group.name]
        account = mixture.hosted.account
        minutes = LASTS / MINUTE
        return Spent(
            account.admitted / (CALLS * minutes),
            account.tokens / (TOKENS * minutes),
            sum(account.refused.values()),
            share.rate * LASTS / max(1, account.admitted),
            share.p50,
            share.p99,
            share.refused,
        )


class Spent(NamedTuple):
    """What became of an account: the part of its calls and tokens that was used, and what clients saw of it."""

    calls: float
    tokens: float
    #: Calls that the account refused.
    refused: int
    items_per_call: float
    #: Seconds of a request.
    p50: float
    p99: float
    #: Requests that a client got 429 for.
    errors: int


def jobs() -> dict[tuple[str, str], Job]:
    """Return the runs by what the limit is like and who asks."""
    return {
        (name, f"{group.clients} x {group.items}"): Job(account, group)
        for group in (CROWD, LISTS)
        for name, account in ACCOUNTS.items()
    }


def limits_table(results: dict[tuple[str, str], Spent]) -> str:
    """What each account gave."""
    rows: list[list[object]] = []
    for (name, crowd), spent in results.items():
        used = f"{spent.calls:.0%}/{spent.tokens:.0%}"
        times = f"{spent.p50:.2f}/{spent.p99:.2f}"
        rows.append([name, crowd, used, spent.refused, f"{spent.items_per_call:.1f}", times, spent.errors])
    heads = ["clients", "calls/tokens used", "calls refused", "items a call", "p50/p99, s", "429 to clients"]
    return table([f"{CALLS} calls and {TOKENS:,} tokens a minute", *heads], rows)


#: Where the table stands in a document.
MARK = "<!-- begin: python -m benchmarks.simulate_limits -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate_limits", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the marks of a document")
    options = parser.parse_args(argv)
    runs = jobs()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(runs, pool.map(Job.run, runs.values()), strict=True))
    text = limits_table(results)
    print(text)
    if options.write:
        write_into(options.write, text, MARK)


if __name__ == "__main__":
    main()
