"""``python -m tests.fuzz [TARGET ...] [--seconds N]``: fuzz each target, or all; exit 1 if anything was found."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import TARGETS

RSS_LIMIT_MB = 512
#: Seconds that a single input may take, and those by which a whole run may be late.
SLOWEST_INPUT, START_AND_STOP = 5, 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz each target")
    given = parser.parse_args()
    targets = given.targets or TARGETS
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is missing: install requirements-fuzz.txt")
    clean = [_fuzz(target, given.seconds) for target in targets]
    return 0 if all(clean) else 1


def _fuzz(target: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own; say how it went, and return whether nothing was found."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        command = [
            *(sys.executable, "-m", "tests.fuzz.runner", target, name),
            *(f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_LIMIT_MB}", f"-timeout={SLOWEST_INPUT}"),
            *(f"-artifact_prefix={name}/", "-max_len=4096", "-print_final_stats=1"),
        ]
        done = subprocess.run(command, capture_output=True, check=False, timeout=seconds + START_AND_STOP)
        said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        print(f"{target}: {_figure('number_of_executed_units', said)} executions in {seconds} s, ", end="")
        print(f"peak RSS {_figure('peak_rss_mb', said)} MB, {'a finding' if done.returncode else 'no finding'}")
        if done.returncode:
            print(said[-6000:])
        for found in (each for each in folder.iterdir() if each.is_file() and each.suffix != ".dict"):
            print(f"reproduce with: from tests.fuzz import {target}; {target}.check({found.read_bytes()!r})")
    sys.stdout.flush()
    return done.returncode == 0


def _figure(name: str, said: str) -> str:
    found = re.search(rf"stat::{name}:\s*(\d+)", said)
    return found[1] if found else "?"


if __name__ == "__main__":
    sys.exit(main())
