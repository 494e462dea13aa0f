"""What the project's Python files define, use and spell out, for tests that compare documents with them."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The one file that is not read: it holds names that were made up.
LEFT_OUT = ROOT / "tests" / "test_docs_names.py"


@dataclass
class Names:
    """What the project's Python files define, use and spell out."""

    #: Functions, classes, variables, parameters, attributes, keywords, imported modules and names.
    known: set[str] = field(default_factory=set)
    #: Texts that a file holds as a constant; without the tests' own, which may be made up.
    texts: set[str] = field(default_factory=set)
    #: The same with those of the tests: the flags of their commands.
    all_texts: set[str] = field(default_factory=set)
    #: Members of each class, by its name, and the names of its bases.
    members: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    bases: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: What each module defines at its top, by the last part of its name.
    tops: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def read(self, path: Path) -> None:
        """Take in one file."""
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = path.parent.name if path.stem == "__init__" else path.stem
        self.known.add(module)
        for statement in tree.body:
            self.tops[module] |= _defined(statement)
        of_tests = path.relative_to(ROOT).parts[0] == "tests"
        for node in ast.walk(tree):
            self.known |= _defined(node) | _used(node)
            if isinstance(node, ast.ClassDef):
                self._read_class(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                self.all_texts.add(text)
                if not of_tests:
                    self.texts.add(text)

    def _read_class(self, node: ast.ClassDef) -> None:
        self.bases[node.name] |= {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for inner in ast.walk(node):
            self.members[node.name] |= _defined(inner)
            if isinstance(inner, ast.Attribute) and ast.unparse(inner.value) == "self":
                self.members[node.name].add(inner.attr)

    def has_member(self, owner: str, name: str) -> bool:
        """Whether a class or one of its bases has this member; of a base that is not ours anything is believed."""
        if owner not in self.members:
            return name in self.known
        return name in self.members[owner] or any(
            self.has_member(base, name) for base in self.bases[owner] - {owner, "Protocol", "NamedTuple", "Exception"}
        )


def _defined(node: ast.AST) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case _:
            return set()


def _used(node: ast.AST) -> set[str]:
    match node:
        case ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            return {name}
        case ast.ImportFrom(module=str(module)):
            return {module, *module.split(".")}
        case _:
            return set()


@cache
def names() -> Names:
    """Read all Python files of the project but ``LEFT_OUT``."""
    found = Names()
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for path in [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]:
        if path != LEFT_OUT:
            found.read(path)
    return found
