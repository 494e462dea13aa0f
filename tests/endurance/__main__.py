"""Runs one proof by its name; the exit status says whether its promise held."""

from __future__ import annotations

import importlib
import sys

PROOFS = (
    "integrity",
    "reloads",
    "kills",
    "rolling",
    "soak",
    "slow",
    "overload",
    "outages",
    "poison",
    "blame",
    "broken",
    "restart",
    "busy",
    "door",
    "forward",
    "governor",
    "classes",
    "fairness",
    "duplicates",
)


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in PROOFS:
        sys.stderr.write(f"usage: python -m tests.endurance {{{','.join(PROOFS)}}} [options]\n")
        return 2
    proof = importlib.import_module(f"tests.endurance.{sys.argv[1]}")
    status: int = proof.main(sys.argv[2:])
    return status


sys.exit(main())
