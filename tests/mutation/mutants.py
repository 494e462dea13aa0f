"""Reads the results of mutmut: each mutant, what it changed, and whether a test noticed it."""

from __future__ import annotations

import ast
import difflib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tests.mutation.equivalents import EQUIVALENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The exit status of pytest where a mutant lived through its tests; without tests; and mutmut's own for that.
LIVED = (0, 5, 33)

#: A text for people: unlike a key, it has a space in it.
WORDS = re.compile(r"""f?"[^"]* [^"]*\"""")


@dataclass(frozen=True)
class Mutant:
    """One small mistake."""

    module: str
    function: str
    line: int
    #: The changed lines, before and after.
    before: str
    after: str
    #: How pytest ended with it; None where it was not tried.
    status: int | None

    @property
    def is_words(self) -> bool:
        """Whether it only changes the words of an error, which tests do not assert."""
        return WORDS.sub("None", self.before) == WORDS.sub("None", self.after)

    @cached_property
    def is_equivalent(self) -> bool:
        """Whether it lived because it behaves as the original does."""
        if self.status not in LIVED:
            return False
        # No code distinguishes None from False where it tests a flag.
        none_for_false = self.after == re.sub(r"(= ?)False", r"\1None", self.before)
        places = self.module, f"{self.module}.{self.function}"
        return none_for_false or any((place, self.before, self.after) in EQUIVALENTS for place in places)

    @property
    def survived(self) -> bool:
        return self.status in LIVED and not self.is_words and not self.is_equivalent

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line} in {self.function}\n- {self.before}\n+ {self.after}"


def read_mutants(folder: Path, module: str) -> Iterator[Mutant]:
    """Yield the mutants of one module."""
    path = folder / "mutants" / f"{module}.py"
    meta = path.with_name(path.name + ".meta")
    if not meta.exists():  # there is nothing in it that could be changed
        return
    statuses: dict[str, int | None] = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    original = (folder / f"{module}.py").read_text(encoding="utf-8")
    source = path.read_text(encoding="utf-8")
    functions = _functions(source)
    for key, status in statuses.items():
        name = key.rpartition(".")[2]
        stem = name.rpartition("__mutmut_")[0]
        old, new = functions[f"{stem}__mutmut_orig"], functions[name]
        at, before, after = _difference(old, new)
        function = stem.removeprefix("x_").strip("ǁ").removeprefix("xǁ").replace("ǁ", ".")
        yield Mutant(module, function, _line_of(original, old) + at, before, after, status)


def _functions(source: str) -> dict[str, list[str]]:
    """Return the lines of every function by its name, without that name."""
    lines = source.splitlines()
    return {
        node.name: [line.replace(node.name, "") for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    }


def _difference(old: list[str], new: list[str]) -> tuple[int, str, str]:
    """Return where two versions of a function begin to differ, and the lines that do."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    if not changes:
        return 0, "", ""
    start, end = changes[0][1], changes[-1][2]
    new_start, new_end = changes[0][3], changes[-1][4]
    return start, _joined(old[start:end]), _joined(new[new_start:new_end])


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _line_of(original: str, function: list[str]) -> int:
    """Return the number of the line on which a function's body stands in the original, less those of its head."""
    lines = original.splitlines()
    body = function[1:]
    for number in range(len(lines)):
        if lines[number + 1 : number + 1 + len(body)] == body:
            return number + 1
    return 0
