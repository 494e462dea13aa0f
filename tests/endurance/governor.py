"""An upstream with rate limits: its calls are used up, and no client and hardly a call is refused.

``--without`` runs the service without its governor, and shows what the limits do then. ``--replicas 3`` has three
proxies share one account.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.processes import fetch_json, module_command, running
from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, metric, quantile, service

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds that a client waits after a refusal.
PAUSE = 0.2


async def load(options: argparse.Namespace, ports: Sequence[int]) -> list[Crowd]:
    """Keep the clients busy for the time that is given, an equal part at each replica."""
    each = options.clients // len(ports)
    crowds = [Crowd(port, each, one_text, timed=True, pause=PAUSE) for port in ports]
    for crowd in crowds:
        crowd.start()
    await asyncio.sleep(options.seconds)
    for crowd in crowds:
        await crowd.stop()
    return crowds


def allowed(options: argparse.Namespace, seconds: float) -> float:
    """Return the calls that the account may have made."""
    steady = options.calls * seconds / 60
    return steady + (options.calls * options.window / 60 if options.form == "bucket" else 0.0)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance governor", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--calls", type=int, default=60, help="a minute")
    parser.add_argument("--tokens", type=int, default=100_000, help="a minute")
    parser.add_argument("--window", type=float, default=60.0, help="seconds over which the limits are judged")
    parser.add_argument("--form", choices=("window", "bucket", "sliding"), default="window")
    parser.add_argument("--headers", choices=("durations", "seconds", "none"), default="durations")
    parser.add_argument("--set", action="store_true", help="give the limits by settings")
    parser.add_argument("--without", action="store_true", help="without the governor")
    options = parser.parse_args(argv)
    report = Report("governor")
    command = module_command("benchmarks.upstream", "--port", "{port}")
    command += ["--calls-per-minute", str(options.calls), "--tokens-per-minute", str(options.tokens)]
    command += ["--limit-window", str(options.window), "--limit-form", options.form]
    command += ["--limit-headers", options.headers, "--servers", "4", "--dimensions", "16"]
    settings: dict[str, Any] = {"upstream_api": "openai", "max_batch_size": 64}
    if options.set:
        settings |= {"upstream_requests_per_minute": options.calls, "upstream_tokens_per_minute": options.tokens}
    with ExitStack() as stack:
        upstream = stack.enter_context(running("upstream", command, ready_path="/health"))
        settings["inference_url"] = f"{upstream.url}/v1"
        variant = "ungoverned" if options.without else None
        replicas = [stack.enter_context(service(variant=variant, **settings)) for _ in range(options.replicas)]
        crowds = asyncio.run(load(options, [each.port for each in replicas]))
        limits = fetch_json(upstream.url, "/limits")
        saved = sum(metric(each, "autobatch_calls_saved_total") for each in replicas)
        paused = sum(metric(each, "autobatch_upstream_paused_seconds_total") for each in replicas)
    judge(report, options, crowds, limits)
    report.note("calls saved", saved)
    report.note("seconds paused", paused)
    return report.close()


def judge(report: Report, options: argparse.Namespace, crowds: Sequence[Crowd], limits: dict[str, Any]) -> None:
    """Hold what clients and upstream saw against the promise."""
    timed = [each for crowd in crowds for each in crowd.tally.timed or ()]
    answers = [took for _, took, outcome in timed if outcome == "200"]
    used, refused = limits["admitted"], sum(limits["refused"].values())
    share = used / allowed(options, max(at + took for at, took, _ in timed) - min(at for at, _, _ in timed))
    batch = len(answers) / max(used, 1)
    report.note("answers", len(answers))
    report.note("  p50, s", quantile(answers, 0.5))
    report.note("  p99, s", quantile(answers, 0.99))
    crowd = options.clients / options.replicas
    report.demand("requests answered by one call", batch, f"half of {crowd:.0f} at least", batch >= crowd / 2)
    others = len(timed) - len(answers)
    report.demand("answers that are no 200", others, "0", others == 0)
    report.note("calls admitted", used)
    # Where no moment is told calls leave evenly, one after the other, and the first ones wait.
    is_plain = options.replicas == 1 and options.form != "sliding"
    least = 0.95 if is_plain else 0.9
    report.demand("of those allowed", share, f"{least} at least", share >= least)
    of_all = refused / max(used + refused, 1)
    most = 0.0 if options.replicas == 1 else 0.01
    report.demand("calls refused upstream", f"{refused} = {of_all:.1%}", f"{most:.0%} at most", of_all <= most)
