"""Simulates interactive beside bulk requests, and flows beside each other: the tables of docs/fairness.md.

`python -m benchmarks.simulate_classes` prints them; `--png FILE` draws them and `--write FILE` puts them into a
document. ``benchmarks/mixture.py`` is the simulation.
"""

from __future__ import annotations

import argparse
import importlib
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.mixture import BUDGET, Group, Mixture, Share
from benchmarks.report import number, table
from benchmarks.simulate import LONG, SHORT, Upstream, write_into

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Simulated seconds of a run, and of one that looks at what happens after the interactive clients have stopped.
SECONDS = 60.0
STOP_AT, SETTLED_AT = 40.0, 42.0
THINK = 0.05
BUDGETS = (1.2, 1.4, 1.6, 1.8, 2.2)
#: Seconds that bulk may wait where its age is not to matter: longer than any flood here takes.
BULK_MAX_WAIT = 60.0

HEAVY = Upstream(0.002, 0.002)
UPSTREAMS = {
    "serial": LONG,
    "serial, short": SHORT,
    "serial, dear items": HEAVY,
    "4 servers": replace(LONG, servers=4),
    "noisy": replace(LONG, noise=0.3),
}


class Job(NamedTuple):
    """One run: what `Mixture` takes."""

    upstream: Upstream
    groups: tuple[Group, ...]
    budget: float = BUDGET
    bulk_max_wait: float = BULK_MAX_WAIT
    begin: float | None = None
    until: float | None = None

    def run(self) -> dict[str, Share]:
        mixture = Mixture(
            self.upstream,
            list(self.groups),
            budget=self.budget,
            bulk_max_wait=self.bulk_max_wait,
            parallelism=self.upstream.servers,
        )
        return mixture.run(SECONDS, self.begin, self.until)


Results = dict[Job, dict[str, Share]]


def interactive(clients: int, think: float = THINK, end: float = 1e9) -> Group:
    """Return clients that each ask for one item."""
    return Group("interactive", clients, think, end=end)


def bulk(clients: int = 10, items: int = 1000, rate: float = 0.0) -> Group:
    """Return clients that ask for many; they come a little later."""
    return Group("bulk", clients, 0.001, items, is_bulk=True, begin=0.2, rate=rate)


# ---- interactive beside bulk --------------------------------------------------------------------


def beside_jobs() -> list[Job]:
    """Each class alone, both with each budget, and bulk after the interactive clients have stopped."""
    jobs = []
    for upstream in UPSTREAMS.values():
        jobs.append(Job(upstream, (bulk(),)))
        for clients in (1, 8, 40):
            jobs.append(Job(upstream, (interactive(clients),)))
            jobs += [Job(upstream, (interactive(clients), bulk()), budget) for budget in BUDGETS]
        jobs.append(_after(upstream))
    return jobs


def _after(upstream: Upstream) -> Job:
    return Job(upstream, (interactive(8, end=STOP_AT), bulk()), begin=SETTLED_AT, until=SECONDS)


def beside_table(results: Results) -> str:
    """How many times longer interactive requests take beside a flood, and what bulk keeps of its rate alone."""
    rows: list[list[object]] = []
    for name, upstream in UPSTREAMS.items():
        whole = results[Job(upstream, (bulk(),))]["bulk"].rate
        for clients in (1, 8, 40):
            alone = results[Job(upstream, (interactive(clients),))]["interactive"]
            cells = []
            for budget in BUDGETS:
                both = results[Job(upstream, (interactive(clients), bulk()), budget)]
                mine = both["interactive"]
                share = both["bulk"].rate / whole
                cells.append(f"{mine.p50 / alone.p50:.2f}/{mine.p99 / alone.p99:.2f}, {share:.0%}")
            rows.append([f"{name} {upstream}; {clients}", _milliseconds(alone), *cells])
    heads = [f"{budget - 1:.0%}" + (" (default)" if budget == BUDGET else "") for budget in BUDGETS]
    return table(["p50/p99 beside the flood over alone, bulk", "alone, ms", *heads], rows)


def after_table(results: Results) -> str:
    """What bulk gets once no interactive request comes any more."""
    rows: list[list[object]] = []
    for name, upstream in UPSTREAMS.items():
        whole = results[Job(upstream, (bulk(),))]["bulk"].rate
        after = results[_after(upstream)]["bulk"].rate
        rows.append([f"{name} {upstream}", number(round(whole)), number(round(after)), f"{after / whole:.1%}"])
    return table(["bulk, items/s", "alone", "2 s after the interactive clients", "share"], rows)


# ---- bulk that waits long -----------------------------------------------------------------------

#: Interactive clients without a pause, the bulk that comes beside them, and how long it may wait.
_ENDLESS = [
    (clients, load, wait)
    for clients in (64, 128)
    for load in (bulk(1), bulk(1, 100, rate=1.0), bulk(1, 32, rate=5.0), bulk(10))
    for wait in (5.0, 20.0)
] + [(8, bulk(10), wait) for wait in (5.0, BULK_MAX_WAIT)]


def _endless(clients: int, load: Group, wait: float) -> Job:
    return Job(LONG, (_crowd(clients), load), bulk_max_wait=wait)


def endless_jobs() -> list[Job]:
    """Interactive traffic that alone keeps the upstream busy, and bulk of several sizes."""
    return [_endless(clients, load, wait) for clients, load, wait in _ENDLESS]


def endless_table(results: Results) -> str:
    """Bulk's share of the places, and how long its items waited beyond what they may."""
    rows: list[list[object]] = []
    for clients, load, wait in _ENDLESS:
        both = results[_endless(clients, load, wait)]
        mine, others = both["bulk"], both["interactive"]
        share = mine.rate / (mine.rate + others.rate)
        what = f"{load.rate:g} x {load.items} a second" if load.rate else f"{load.clients} x {load.items}, endless"
        cells = [f"{share:.0%}", number(wait), f"{mine.longest_wait:.2f}", _milliseconds(others)]
        rows.append([f"{clients} clients; bulk {what}", *cells])
    heads = ["bulk's places", "bulk may wait, s", "its longest wait, s", "interactive, ms"]
    return table(["an endless interactive load", *heads], rows)


# ---- bulk under other keys ----------------------------------------------------------------------

_KEYS = {0: "the same key", 1: "another key", 6: "6 other keys", 16: "16 other keys"}
_AGES = (BULK_MAX_WAIT, 2.0)


def _crowd(clients: int) -> Group:
    return interactive(clients, THINK if clients == 8 else 0.0003)  # eight that think do not fill the upstream


def _by_keys(clients: int, keys: int, wait: float) -> Job:
    load = replace(bulk(max(10, keys)), keys=keys)
    return Job(LONG, (_crowd(clients), load), bulk_max_wait=wait)


def keys_jobs() -> list[Job]:
    """Each class alone, and interactive clients beside bulk that cannot share their batches."""
    both = [_by_keys(clients, keys, wait) for clients in (8, 64) for keys in _KEYS for wait in _AGES]
    return [Job(LONG, (bulk(),)), *[Job(LONG, (_crowd(clients),)) for clients in (8, 64)], *both]


def keys_table(results: Results) -> str:
    """How interactive requests and bulk do where bulk has other keys, before and after it has aged."""
    rows: list[list[object]] = []
    whole = results[Job(LONG, (bulk(),))]["bulk"].rate
    for clients in (8, 64):
        alone = results[Job(LONG, (_crowd(clients),))]["interactive"]
        for keys, name in _KEYS.items():
            cells = []
            for wait in _AGES:
                both = results[_by_keys(clients, keys, wait)]
                mine = both["interactive"]
                share = both["bulk"].rate / whole
                cells.append(f"{mine.p50 / alone.p50:.2f}/{mine.p99 / alone.p99:.2f}, {share:.0%}")
            rows.append([f"{clients} clients{'' if clients == 8 else ', endless'}; {name}", *cells])
    heads = [f"bulk may wait {wait:g} s" for wait in _AGES]
    return table(["p50/p99 beside bulk over alone, bulk", *heads], rows)


# ---- flows --------------------------------------------------------------------------------------

_NINE = tuple(Group(f"small {number}", 2, THINK, weight=1) for number in range(9))
_FLOOD = Group("flood", 200, THINK, weight=1)
_WEIGHTS = tuple(Group(f"weight {weight}", 100, weight=weight) for weight in (1, 2, 4))
_FLOW_JOBS = {
    "nine flows of 2 clients": (Job(LONG, _NINE), _NINE[0]),
    "and one of 200, the same flow": (
        Job(LONG, tuple(replace(each, weight=0) for each in (*_NINE, _FLOOD))),
        replace(_NINE[0], weight=0),
    ),
    "and one of 200, a flow of its own": (Job(LONG, (*_NINE, _FLOOD)), _NINE[0]),
    "the flood's clients": (Job(LONG, (*_NINE, _FLOOD)), _FLOOD),
    "and one of 10 lists of 1000": (
        Job(LONG, (*_NINE, replace(_FLOOD, clients=10, items=1000))),
        _NINE[0],
    ),
}
_CAPPED = Job(LONG, (*_NINE, replace(_FLOOD, most_calls=20)))


def flow_jobs() -> list[Job]:
    """A flood, weights, and a cap."""
    lists = tuple(replace(group, items=7) for group in _WEIGHTS)
    return [*dict.fromkeys([job for job, _ in _FLOW_JOBS.values()]), _CAPPED, Job(LONG, _WEIGHTS), Job(LONG, lists)]


def flow_tables(results: Results) -> str:
    """How long small flows take beside a flood; what flows of three weights get."""
    rows: list[list[object]] = []
    base = results[Job(LONG, _NINE)][_NINE[0].name]
    for label, (job, group) in _FLOW_JOBS.items():
        share = results[job][group.name]
        rows.append([label, f"{share.rate:.1f}", _milliseconds(share), f"{share.p99 / base.p99:.2f}"])
    capped = results[_CAPPED]
    share = capped[_NINE[0].name]
    rows.append(
        ["and one of 200, 20 calls at most", f"{share.rate:.1f}", _milliseconds(share), f"{share.p99 / base.p99:.2f}"]
    )
    first = table(["flows", "items/s of one", "p50/p99, ms", "p99 over the first"], rows)
    rows = []
    for items in (1, 7):
        groups = tuple(replace(group, items=items) for group in _WEIGHTS) if items > 1 else _WEIGHTS
        shares = results[Job(LONG, groups)]
        rates = [shares[group.name].rate for group in groups]
        ratio = " : ".join(f"{rate / rates[0]:.3g}" for rate in rates)
        rows.append([f"100 clients each, {items} items a request", *[f"{rate:.0f}" for rate in rates], ratio])
    return f"{first}\n\n{table(['weights, items/s', '1', '2', '4', 'ratio'], rows)}"


# ---- limits of one's own ------------------------------------------------------------------------

_OWN = (None, 0.05, 0.01, 0.0)


def _own_jobs(wait: float | None) -> Job:
    """Fifteen clients of a crowd that the rule holds together, and one that says how long it may be held back."""
    return Job(LONG, (replace(interactive(15, 0.0003)), Group("one", 1, 0.02, max_wait=wait)))


def own_table(results: Results) -> str:
    """What `X-Max-Wait-Ms` does for the client that sends it, and to the others."""
    rows: list[list[object]] = []
    for wait in _OWN:
        shares = results[_own_jobs(wait)]
        label = "not sent" if wait is None else f"{wait * 1e3:.0f}"
        rows.append([label, _milliseconds(shares["one"]), f"{shares['interactive'].rate:.0f}"])
    return table(["X-Max-Wait-Ms", "its p50/p99, ms", "the others, items/s"], rows)


# ---- what is shown ------------------------------------------------------------------------------


def _milliseconds(share: Share) -> str:
    return f"{number(round(share.p50 * 1e3, 1))}/{number(round(share.p99 * 1e3, 1))}"


def run_all(jobs: Sequence[Job]) -> Results:
    """Run every job once."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(jobs, pool.map(Job.run, jobs, chunksize=4), strict=True))


def all_jobs() -> list[Job]:
    """All that the tables are made of."""
    jobs = [*beside_jobs(), *endless_jobs(), *keys_jobs(), *flow_jobs(), *map(_own_jobs, _OWN)]
    return list(dict.fromkeys(jobs))


def draw(results: Results, path: Path) -> None:
    """Two panels: what the budget trades on each upstream, and a flow's latency beside a flood."""
    try:
        importlib.import_module("matplotlib").use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise SystemExit("--png needs matplotlib: pip install -r requirements-bench.txt") from None
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 4.8), layout="constrained")
    for name, upstream in UPSTREAMS.items():
        whole = results[Job(upstream, (bulk(),))]["bulk"].rate
        alone = results[Job(upstream, (interactive(8),))]["interactive"]
        runs = [results[Job(upstream, (interactive(8), bulk()), budget)] for budget in BUDGETS]
        slower = [run["interactive"].p50 / alone.p50 for run in runs]
        left.plot(slower, [100 * run["bulk"].rate / whole for run in runs], marker="o", label=f"{name} {upstream}")
    left.set(xlabel="interactive p50, over its p50 alone", ylabel="bulk, % of its items/s alone", ylim=(0, 100))
    left.set_title("8 interactive clients, bulk 10 x 1000; budgets from 20% to 120%")
    shares = [results[job][group.name] for job, group in _FLOW_JOBS.values()]
    places = range(len(shares))
    right.barh(places, [share.p99 * 1e3 for share in shares], color="tab:orange", label="p99")
    right.barh(places, [share.p50 * 1e3 for share in shares], color="tab:blue", label="p50")
    right.set_yticks(places, list(_FLOW_JOBS))
    right.invert_yaxis()
    right.set(xlabel="ms")
    right.set_title(f"Flows, serial upstream of {LONG}")
    for axis in (left, right):
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


#: Where the tables stand in a document.
MARK = "<!-- begin: python -m benchmarks.simulate_classes -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate_classes", description=__doc__)
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the results")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks of a document")
    options = parser.parse_args(argv)
    results = run_all(all_jobs())
    tables = [beside_table, after_table, endless_table, keys_table, flow_tables, own_table]
    text = "\n\n".join(make(results) for make in tables)
    print(text)
    if options.png:
        draw(results, options.png)
    if options.write:
        write_into(options.write, text, MARK)


if __name__ == "__main__":
    main()
