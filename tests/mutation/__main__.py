"""``python -m tests.mutation [MODULE ...] [--least N]``: exit 1 if less than N % of the mutants are noticed."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation import LEFT_OUT, MODULES, TESTS
from tests.mutation.mutants import Mutant, read_mutants

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
#: What the tests import besides the engine.
NEEDED = (
    *("api", "app.py", "batching", "benchmarks", "config", "embedded", "formats", "instrumentation", "serving"),
    *("tests", "upstream", "wiring", "pyproject.toml"),
)
#: Where the mutants are planted.
SOURCES = ("batching", "formats", "upstream")

#: A mutant has this many times the time of its tests, plus so many seconds, because a time-out counts as noticed and a
#: busy machine is slow.
TIMES_LONGER, SECONDS_MORE = 5, 2

CONFIGURATION = """
[tool.mutmut]
source_paths = {sources}
only_mutate = {modules}
do_not_mutate_patterns = ['^\\s*log\\.']
also_copy = {needed}
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-seed=0"]
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = {times}
timeout_constant = {more}
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all if none is named")
    parser.add_argument("--least", type=float, default=90, metavar="N", help="percentage to be noticed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants tried at once (%(default)s)")
    given = parser.parse_args()
    modules = given.modules or MODULES
    if unknown := set(modules) - set(MODULES):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("mutmut") is None:
        parser.error("mutmut is missing: install requirements-mutate.txt")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name)
        _copy(folder, modules)
        command = (sys.executable, "-m", "mutmut", "run", "--max-children", str(given.jobs))
        log = folder / "mutmut.log"
        with log.open("wb") as output:
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False)
        mutants = [mutant for module in modules for mutant in read_mutants(folder, module)]
        if done.returncode or not mutants or any(mutant.status is None for mutant in mutants):
            sys.stdout.write(log.read_text(errors="replace")[-4000:] + "\nmutmut did not try every mutant\n")
            return 1
    score = _tell(mutants, modules)
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return 0 if score >= given.least else 1


def _copy(folder: Path, modules: Sequence[str]) -> None:
    """Put what the tests need into the folder, with mutmut's settings."""
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    settings = CONFIGURATION.format(
        sources=[f"{source}/" for source in SOURCES],
        modules=[f"{module}.py" for module in modules],
        needed=[name for name in NEEDED if name not in (*SOURCES, "pyproject.toml")],
        tests=_tests(),
        times=TIMES_LONGER,
        more=SECONDS_MORE,
    )
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(settings)


def _tests() -> list[str]:
    """Return the test files that may notice a mutant."""
    tests = ROOT / "tests"
    found = {
        path
        for name in TESTS
        for path in ((tests / name).rglob("test_*.py") if (tests / name).is_dir() else [tests / name])
    }
    return sorted(str(path.relative_to(ROOT)) for path in found - {tests / name for name in LEFT_OUT})


def _tell(mutants: Sequence[Mutant], modules: Sequence[str]) -> float:
    """Print the mutants that survived and the score of each module; return the score of all."""
    for mutant in mutants:
        if mutant.survived:
            sys.stdout.write(f"{mutant}\n\n")
    sys.stdout.write(f"{'module':32} mutants noticed survived equivalent  score\n")
    for module in modules:
        _line(module, [mutant for mutant in mutants if mutant.module == module])
    return _line("all", mutants)


def _line(title: str, mutants: Sequence[Mutant]) -> float:
    counted = [mutant for mutant in mutants if not mutant.is_words]
    survived = sum(mutant.survived for mutant in counted)
    equivalent = sum(mutant.is_equivalent for mutant in counted)
    noticed = len(counted) - survived - equivalent
    score = 100 * noticed / max(noticed + survived, 1)
    sys.stdout.write(f"{title:32} {len(counted):7} {noticed:7} {survived:8} {equivalent:10} {score:5.1f}%\n")
    return score


if __name__ == "__main__":
    sys.exit(main())
