"""The process that fuzzes one target: ``python -m tests.fuzz.runner TARGET FOLDER [libFuzzer's flags]``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> None:
    _, target, name, *flags = sys.argv
    # Only the project's code is instrumented for coverage: instrumented dependencies would slow the fuzzing.
    with atheris.instrument_imports(include=["api", "batching", "config", "formats", "upstream"]):
        harness = importlib.import_module(f"tests.fuzz.{target}")
    folder = Path(name)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(harness.SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    tokens = folder / "tokens.dict"
    tokens.write_text(_dictionary(harness.TOKENS), encoding="ascii")
    atheris.Setup([sys.argv[0], str(corpus), f"-dict={tokens}", *flags], harness.check)
    atheris.Fuzz()


def _dictionary(tokens: Iterable[bytes]) -> str:
    """Write tokens as libFuzzer reads them, each byte in hexadecimal."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens)


if __name__ == "__main__":
    main()
