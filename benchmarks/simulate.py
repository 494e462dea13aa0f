"""Discrete-event simulation of the production queue and timing rules against upstreams of every kind.

`python -m benchmarks.simulate` prints the tables of docs/timing.md in less than a minute; `--png FILE` draws
them and `--write FILE` puts them into a document. Only time, clients and upstream are simulated: the
queue and the timing objects are the production ones.
"""

from __future__ import annotations

import argparse
import heapq
import importlib
import math
import os
import random
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from batching.call import Batch, Call
from batching.capacity import Capacity
from batching.key import BatchKey, Task
from batching.limits import Limits
from batching.outcomes import Outcomes
from batching.queue.batch_queue import BatchQueue
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.rule import FULL, HOLD, IDLE, Decision, FixedTiming, LaneState, Timing
from benchmarks.report import number, percentile, table
from wiring.check.progress import Progress

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from batching.timing.learning import CallCost

MAX_BATCH = 32
MAX_WAIT = 0.1
#: Seconds between the proxy and the upstream, one way.
NETWORK = 0.0005

_KEY = BatchKey(Task.EMBED)
_ITEM = [b'"x"']
_FOR_EVER = 1e9


class Over(Exception):
    """The simulated time is up."""


def stop() -> None:
    """End the simulation."""
    raise Over


class World:
    """Simulated time, and the proxy's one core. To the queue it is a clock."""

    def __init__(self) -> None:
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0
        self._core_free = 0.0

    def now(self) -> float:
        return self._now

    def at(self, moment: float, action: Callable[..., None], *args: object) -> None:
        """Run ``action(*args)`` at ``moment``; in the order of asking where moments are equal."""
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, action, args))

    def on_core(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        """Run ``action(*args)`` once the core has worked on it, first come, first served."""
        if seconds == 0.0:
            action(*args)
            return
        self._core_free = max(self._core_free, self._now) + seconds
        self.at(self._core_free, action, *args)

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:  # noqa: ARG002 - one thread
        """Run the next event, unless the time-out comes first."""
        end = math.inf if timeout is None else self._now + timeout
        if self._events and self._events[0][0] <= end:
            self._now, _, action, args = heapq.heappop(self._events)
            action(*args)
        else:
            self._now = end

    def wait_for(self, event: threading.Event, timeout: float) -> bool:
        raise NotImplementedError("no thread blocks in a simulation")


@dataclass(frozen=True)
class Upstream:
    """A call of n items takes ``fixed + per_item * n`` seconds on one of ``servers``; the others queue.

    ``rebatch``: a free server takes all waiting calls that fit into one pass of that many items (as TEI does).
    ``noise``: sigma of the log-normal factor on every service time.
    """

    fixed: float
    per_item: float
    servers: int = 1
    rebatch: int = 0
    noise: float = 0.0

    def seconds(self, items: int) -> float:
        return self.fixed + self.per_item * items

    @property
    def capacity(self) -> float:
        """Items a second with full batches."""
        return self.servers * MAX_BATCH / self.seconds(MAX_BATCH)

    def __str__(self) -> str:
        return f"{self.fixed * 1e3:g} + {self.per_item * 1e3:g}·n ms"


class Closed(NamedTuple):
    """``clients`` that each send one item, wait, think (uniform within half of ``think`` either side), send again."""

    clients: int
    think: float


class Open(NamedTuple):
    """Poisson arrivals. ``phases``: pairs of rate and seconds, repeated; ``burst`` items arrive at each event."""

    phases: tuple[tuple[float, float], ...]
    burst: int = 1


@dataclass(frozen=True)
class Scenario:
    """An upstream under a load, until ``items`` are answered or ``seconds`` are over."""

    upstream: Upstream
    load: Closed | Open
    #: Seconds of the proxy's one core that a request costs: half on its way in, half on its way out.
    core: float = 0.0
    items: int = 6000
    seconds: float = 30.0


class Outcome(NamedTuple):
    """Items a second; median and 99th percentile of the time in the proxy, in seconds; mean batch size."""

    rate: float
    p50: float
    p99: float
    batch: float


class SlotFree:
    """Send whatever waits whenever the queue's limit of batches in flight allows; learn nothing."""

    servers: int | None = None
    cost: CallCost | None = None

    def wants_probe(self, size: int, now: float) -> bool:  # noqa: ARG002
        return False

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:  # noqa: ARG002
        return FULL if lane.is_full else IDLE

    def arrived(self, *args: object, **kwargs: object) -> None:
        pass

    sent = completed = arrived


class Threshold(SlotFree):
    """The oracle's rule: send at ``levels[j]`` items while j batches are in flight; the last level holds for more."""

    def __init__(self, *levels: float) -> None:
        self._levels = levels

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:  # noqa: ARG002
        if lane.is_full:
            return FULL
        return IDLE if lane.waiting >= self._levels[min(in_flight, len(self._levels) - 1)] else HOLD


class Servers:
    """The upstream: batches reach it over the network, wait in line, are worked on, and come back."""

    def __init__(self, upstream: Upstream, world: World, seed: int, settle: Callable[[Batch], None]) -> None:
        """``settle`` is called with each batch that is back."""
        self._upstream = upstream
        self._world = world
        self._noise = random.Random(seed)
        self._settle = settle
        self._free = upstream.servers
        self._line: deque[Batch] = deque()

    def send(self, batch: Batch) -> None:
        """Let a batch leave now."""
        self._world.at(self._world.now() + NETWORK, self._reach, batch)

    def _reach(self, batch: Batch) -> None:
        self._line.append(batch)
        self._serve()

    def _serve(self) -> None:
        while self._free and self._line:
            batches = [self._line.popleft()]
            items = len(batches[0].items)
            while self._line and items + len(self._line[0].items) <= self._upstream.rebatch:
                batches.append(self._line.popleft())
                items += len(batches[-1].items)
            seconds = self._upstream.seconds(items)
            if self._upstream.noise:
                seconds *= self._noise.lognormvariate(0.0, self._upstream.noise)
            self._free -= 1
            self._world.at(self._world.now() + seconds, self._finish, batches)

    def _finish(self, batches: list[Batch]) -> None:
        self._free += 1
        self._serve()
        for batch in batches:
            self._world.at(self._world.now() + NETWORK, self._settle, batch)


class Simulation:
    """One scenario under one rule."""

    def __init__(self, scenario: Scenario, timing: Callable[[], Timing], in_flight: int, seed: int = 1) -> None:
        self._scenario = scenario
        self._world = World()
        limits = Limits(max_calls=10**9, max_queued_items=10**9, max_batch_bytes=10**9)
        capacity = Capacity(batches=in_flight, batch_size=MAX_BATCH)
        self._queue = BatchQueue(limits, capacity, timing, self._world)
        self._random = random.Random(seed)
        self._servers = Servers(scenario.upstream, self._world, seed + 1, self._settle)
        self._done: list[tuple[float, float]] = []
        self._began: dict[Call, float] = {}
        self._sizes = 0
        self._batches = 0

    def run(self) -> Outcome:
        """Simulate to the end. The first two fifths of the answers, in which a rule learns, do not count."""
        world = self._world
        world.at(self._scenario.seconds, stop)
        load = self._scenario.load
        if isinstance(load, Closed):
            for _ in range(load.clients):
                world.at(self._random.random() * 0.01, self._request)
        else:
            world.at(0.0, self._schedule, 0.0, 0, load.phases[0][1])
        try:
            while batch := self._queue.take():
                self._sizes += len(batch.items)
                self._batches += 1
                self._servers.send(batch)
        except Over:
            pass
        return self._outcome()

    def _outcome(self) -> Outcome:
        done = self._done
        warm = len(done) * 2 // 5
        start = done[warm][0] if done else 0.0
        # Whole batches answer at one moment: count from just behind such a moment up to another one.
        rest = [pair for pair in done[warm:] if pair[0] > start]
        if not rest:
            return Outcome(0.0, math.inf, math.inf, 0.0)
        times = sorted(taken for _, taken in rest)
        rate = len(rest) / (rest[-1][0] - start)
        return Outcome(rate, percentile(times, 0.5), percentile(times, 0.99), self._sizes / self._batches)

    # ---- clients ----

    def _schedule(self, moment: float, phase: int, until: float) -> None:
        """Send what arrives now, and work out when the next arrival is."""
        load = self._scenario.load
        assert isinstance(load, Open)
        if moment > 0.0:
            for _ in range(load.burst):
                self._request()
        moment += self._random.expovariate(load.phases[phase][0] / load.burst)
        if moment > until:
            moment = until
            phase = (phase + 1) % len(load.phases)
            until += load.phases[phase][1]
        self._world.at(moment, self._schedule, moment, phase, until)

    def _request(self) -> None:
        call = Call(_ITEM, _KEY, _FOR_EVER)
        self._began[call] = self._world.now()
        self._world.on_core(self._scenario.core / 2, self._queue.put, call)

    def _reply(self, call: Call) -> None:
        now = self._world.now()
        self._done.append((now, now - self._began.pop(call)))
        if len(self._done) >= self._scenario.items:
            raise Over
        load = self._scenario.load
        if isinstance(load, Closed):
            self._world.at(now + load.think * (0.5 + self._random.random()), self._request)

    def _settle(self, batch: Batch) -> None:
        for call in self._queue.settle(batch, Outcomes.results([b"[]"] * len(batch.items))):
            self._world.on_core(self._scenario.core / 2, self._reply, call)


# ---- what is compared ---------------------------------------------------------------------------


class Rule(NamedTuple):
    """A name of `RULES`, or the levels of a `Threshold`."""

    name: str
    levels: tuple[float, ...] = ()

    def timing(self) -> Timing:
        """A fresh timing object."""
        if self.levels:
            return Threshold(*self.levels)
        if self.name == ADAPTIVE:
            return AdaptiveTiming(MAX_BATCH, MAX_WAIT)
        return FixedTiming(float(self.name.split()[1]) / 1e3) if self.name.startswith("fixed") else SlotFree()

    @property
    def in_flight(self) -> int:
        """The queue's limit of batches in flight."""
        return int(self.name.split()[1]) if self.name.startswith("slot-free") else 4


ADAPTIVE = "adaptive"
RULES = [Rule(name) for name in ("fixed 100", "fixed 10", "slot-free 1", "slot-free 2", "slot-free 4", ADAPTIVE)]
OPTIMUM = "optimum"

SHORT = Upstream(0.004, 0.0001)
LONG = Upstream(0.020, 0.0005)
PARALLEL = replace(SHORT, servers=4)
REBATCHING = replace(SHORT, rebatch=MAX_BATCH)
NOISY = replace(SHORT, noise=0.3)
#: Seconds of the proxy's core that a request of the real service costs, about.
CORE = 0.0004

_UPSTREAMS = {
    "serial": [(SHORT, 0.0), (LONG, 0.0), (LONG, CORE)],
    "4 servers": [(PARALLEL, 0.0)],
    "re-batching": [(REBATCHING, 0.0)],
    "noisy": [(NOISY, 0.0)],
}
_LOADS = (0.02, 0.07, 0.22, 0.5, 0.67, 0.85)


class Cell(NamedTuple):
    """One row of a table."""

    upstream: str
    load: str
    scenario: Scenario


def closed_cells(*, quick: bool = False) -> list[Cell]:
    """Crowds of clients; fewer cells if ``quick``."""
    cells = []
    for name, kinds in _UPSTREAMS.items():
        for upstream, core in kinds:
            counts: Sequence[int] = (1, 4, 16, 32, 48, 64, 200) if name == "serial" else (4, 16, 64)
            for think in (0.0003, 0.002, 0.02) if name == "serial" and not core else (0.0003,):
                for clients in (4, 16, 64) if quick else counts:
                    load = Closed(clients, think)
                    label = f"{name} {upstream}" + (f", {core * 1e3:g} ms core" if core else "")
                    scenario = Scenario(upstream, load, core, items=1000 if quick else 3000)
                    cells.append(Cell(label, f"N {clients}, think {think * 1e3:g} ms", scenario))
    return cells


def open_cells(*, quick: bool = False) -> list[Cell]:
    """Arrivals that do not wait for answers; fewer cells if ``quick``."""
    cells = []
    for name, kinds in _UPSTREAMS.items():
        for upstream, core in kinds:
            if core:
                continue
            loads = [
                (f"Poisson, {share:.0%}", Open(((share * upstream.capacity, 1e6),)))
                for share in ((0.22, 0.5) if quick else _LOADS)
            ]
            if name == "serial":
                loads.append(("bursts of 16, 20%", Open(((0.2 * upstream.capacity, 1e6),), burst=16)))
                phases = tuple((share * upstream.capacity, 1.0) for share in (0.1, 0.8, 0.3))
                loads.append(("jumps 10-80-30%, each 1 s", Open(phases)))
            for label, load in loads:
                scenario = Scenario(upstream, load, core, items=1500 if quick else 6000)
                cells.append(Cell(f"{name} {upstream}", label, scenario))
    return cells


def oracles(scenario: Scenario) -> list[Rule]:
    """The rules among which the optimum of a closed crowd is searched.

    Every pair of thresholds on a grid: send at ``first`` items while a server is free and at ``ahead``
    while all are busy (never, or a part of the crowd). They are given the size of the crowd and learn nothing.
    """
    assert isinstance(scenario.load, Closed)
    clients, servers = scenario.load.clients, scenario.upstream.servers
    most = min(clients, MAX_BATCH)
    firsts = {min(max(round(clients * part / servers), 1), most) for part in (0.0, 0.25, 0.5, 0.75, 1.0)}
    aheads = {min(max(round(clients * part), 1), most) for part in (1 / 3, 1 / 2)}
    pairs = [(first, math.inf) for first in firsts]
    pairs += [(first, ahead) for first in (1, min(firsts, key=lambda first: abs(first - most / 2))) for ahead in aheads]
    return [Rule(OPTIMUM, (first,) * servers + (ahead,)) for first, ahead in pairs]


Results = dict[Cell, dict[str, Outcome]]


def simulate(scenario: Scenario, rule: Rule, seed: int = 1) -> Outcome:
    """Run one scenario under one rule."""
    return Simulation(scenario, rule.timing, rule.in_flight, seed).run()


def _job(job: tuple[Cell, Rule]) -> Outcome:
    cell, rule = job
    scenario = cell.scenario
    if rule.name != ADAPTIVE and isinstance(scenario.load, Closed):
        # These rules learn nothing, and every round is like the last: a run of half the length gives the same rate.
        scenario = replace(scenario, items=scenario.items // 2)
    return simulate(scenario, rule)


def run_all(cells: Sequence[Cell]) -> Results:
    """Every cell under every rule; for closed crowds the optimum too, at least the best of the rules."""
    jobs = [
        (cell, rule)
        for cell in cells
        for rule in RULES + (oracles(cell.scenario) if isinstance(cell.scenario.load, Closed) else [])
    ]
    results: Results = {cell: {} for cell in cells}
    progress = Progress()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done, ((cell, rule), outcome) in enumerate(zip(jobs, pool.map(_job, jobs, chunksize=8), strict=True)):
            found = results[cell]
            if rule.levels:
                outcome = max(outcome, *found.values(), key=lambda known: known.rate)  # noqa: PLW2901
            found[rule.name] = outcome
            progress.show(done / len(jobs), f"{cell.upstream}, {cell.load}")
    progress.clear()
    return results


# ---- what is shown ------------------------------------------------------------------------------


def _milliseconds(outcome: Outcome) -> str:
    return f"{number(round(outcome.p50 * 1e3, 1))}/{number(round(outcome.p99 * 1e3, 1))}"


def closed_table(results: Results) -> str:
    """Items a second, and what share of the optimum the adaptive rule reaches."""
    names = [rule.name for rule in RULES]
    rows: list[list[object]] = []
    for cell, found in results.items():
        if OPTIMUM in found:
            share = found[ADAPTIVE].rate / found[OPTIMUM].rate
            cells = [number(round(found[name].rate)) for name in (*names, OPTIMUM)]
            rows.append([f"{cell.upstream}; {cell.load}", *cells, f"{share:.2f}" + (" !" if share < 0.95 else "")])
    return table(["closed loop, items/s", *names, OPTIMUM, "adaptive / optimum"], rows)


def open_table(results: Results) -> str:
    """Median and 99th percentile, and how the adaptive rule's compare with the best of the others."""
    names = [rule.name for rule in RULES]
    rows: list[list[object]] = []
    for cell, found in results.items():
        if OPTIMUM not in found:
            ratios = worst_ratio(found)
            mark = " !" if max(ratios) > 1.1 else ""
            cells = [_milliseconds(found[name]) for name in names]
            rows.append([f"{cell.upstream}; {cell.load}", *cells, "{:.2f}/{:.2f}".format(*ratios) + mark])
    return table(["open loop, p50/p99 in ms", *names, "adaptive / best other"], rows)


def worst_ratio(found: dict[str, Outcome]) -> tuple[float, float]:
    """The adaptive rule's median and 99th percentile, each over the lowest that any other rule reached."""
    mine = found[ADAPTIVE]
    others = [outcome for name, outcome in found.items() if name != ADAPTIVE]
    ratios = [(mine.p50 / other.p50, mine.p99 / other.p99) for other in others]
    return max(ratio[0] for ratio in ratios), max(ratio[1] for ratio in ratios)


def draw(results: Results, path: Path) -> None:
    """Three panels: closed crowds on the short and the long upstream, open load on the short one."""
    try:
        importlib.import_module("matplotlib").use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise SystemExit("--png needs matplotlib: pip install -r requirements-bench.txt") from None
    figure, axes = pyplot.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
    for axis, upstream in zip(axes, (SHORT, LONG), strict=False):
        crowds = {
            cell.scenario.load.clients: found
            for cell, found in results.items()
            if isinstance(cell.scenario.load, Closed)
            and (cell.scenario.upstream, cell.scenario.load.think, cell.scenario.core) == (upstream, 0.0003, 0.0)
        }
        for name in [OPTIMUM, *(rule.name for rule in RULES)]:
            _line(axis, name, list(crowds), [found[name].rate for found in crowds.values()])
        axis.set(xscale="log", xlabel="clients (think time 0.3 ms)", ylabel="items/s", ylim=(0, None))
        axis.set_xticks(list(crowds), [str(count) for count in crowds])
        axis.minorticks_off()
        axis.set_title(f"Closed loop, serial upstream of {upstream}")
    rates = {
        cell.scenario.load.phases[0][0]: found
        for cell, found in results.items()
        if isinstance(cell.scenario.load, Open) and cell.load.startswith("Poisson") and cell.scenario.upstream == SHORT
    }
    for rule in RULES[1:]:
        _line(axes[2], rule.name, list(rates), [found[rule.name].p99 * 1e3 for found in rates.values()])
    axes[2].set(xlabel="requests/s (Poisson)", ylabel="99th percentile, ms", ylim=(0, 40))
    axes[2].set_title(f"Open loop, serial upstream of {SHORT}")
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


_COLOURS = dict(
    zip([rule.name for rule in RULES], ["tab:gray", "tab:brown", "tab:blue", "tab:green", "tab:red"], strict=False)
)


def _line(axis: Any, name: str, x: list[Any], y: list[float]) -> None:
    style: dict[str, Any] = {"color": _COLOURS.get(name), "linewidth": 1.2}
    if name == ADAPTIVE:
        style = {"color": "tab:orange", "linewidth": 4, "alpha": 0.7}
    elif name == OPTIMUM:
        style = {"color": "black", "linestyle": ":", "zorder": 4}
    axis.plot(x, y, marker="o", markersize=4, label=name, **style)


_BEGIN, _END = "<!-- begin: python -m benchmarks.simulate -->", "<!-- end -->"


def write_into(path: Path, text: str, mark: str = _BEGIN) -> None:
    """Replace what stands between ``mark`` and the end mark of a document. Raises ValueError where there are none."""
    document = path.read_text()
    before, begin, rest = document.partition(mark)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the tables: {mark} … {_END}")
    path.write_text(f"{before}{mark}\n\n{text}\n\n{_END}{after}")


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the results")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks of a document")
    parser.add_argument("--quick", action="store_true", help="a few short cells: seconds, rough figures")
    options = parser.parse_args(argv)
    results = run_all([*closed_cells(quick=options.quick), *open_cells(quick=options.quick)])
    text = f"{closed_table(results)}\n\n{open_table(results)}"
    print(text)
    if options.png:
        draw(results, options.png)
    if options.write:
        write_into(options.write, text)


if __name__ == "__main__":
    main()
