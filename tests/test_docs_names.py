"""Every name in a code span of README.md, CONTRIBUTING.md and docs/ exists, and every link there leads somewhere."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from config import DECLARATIONS
from tests.support.project_names import ROOT, names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Spans that name something of HTTP, of another program or of a client's or server's own vocabulary.
NOT_OURS = {
    "GET",
    "POST",
    "Authorization: Bearer …",
    "make",  # the program; its targets are checked
    "kill -9",
    "retry-on",  # HAProxy's, in deploy/haproxy.cfg
    "docker compose up -d",
    "git mv",
    ".venv",  # made by make
}

FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
TREE = re.compile(r"^```\n(app\.py.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
JSON_MEMBER = re.compile(r'"([^"]*)"\s*:')
LABEL = re.compile(r'(\w+)="(\w+)"')
FILE_TYPES = "py|md|toml|txt|yml|cfg|png|json"


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def spans_of(document: str) -> list[str]:
    """Return the code spans of a Markdown text, without its fenced blocks."""
    return [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", document))]


def anchors_of(document: str) -> set[str]:
    """Return what links may name of a Markdown text: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def leads_nowhere(link: str, document: Path) -> bool:
    """Whether the link of a document names a file that is not there, or a heading that the file has not."""
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return not target.exists() or bool(anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")))


def drawn_in(tree: str) -> list[str]:
    """Return the paths of a drawing of folders: what stands below a folder is two characters further in."""
    paths: list[str] = []
    above: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [line.split()[0]]
        paths.append("".join(above))
    return paths


def unknown(span: str) -> list[str]:
    """Return the parts of a code span that name nothing that exists."""
    if span in NOT_OURS:
        return []
    match span.split():
        case ["make", target]:
            return [] if target in make_targets() else [target]
        case ["python" | ".venv/bin/python", "-m", module, *arguments]:
            return [word for word in (module, *arguments) if not (is_module(word) or exists(word))]
    if '":' in span:
        return [name for name in JSON_MEMBER.findall(span) if not is_member(name)]
    return [word for word in re.split(r"\s+|→|\|", span) if word not in NOT_OURS and not exists(word)]


def exists(word: str) -> bool:
    """Whether what a word names by its shape exists; a word without a letter names nothing."""
    word = word.strip("\"',;:()")
    for shape, check in CHECKS:
        if re.fullmatch(shape, word):
            return check(word)
    return not re.search(r"[A-Za-z]", word)


def is_member(name: str) -> bool:
    """Whether the code knows a member of a JSON object: by its name, or as it writes it."""
    return name in names().texts or any(f'"{name}"' in text for text in names().texts)


def is_metric(word: str) -> bool:
    name, _, labels = word.partition("{")
    name = re.sub(r"(?<=_seconds)_(count|sum|bucket)$", "", name)
    found = names().texts
    return (not name or name in found) and all(
        label in found and value in found | names().known for label, value in LABEL.findall(labels)
    )


def is_flag(word: str) -> bool:
    return word in {each.flag for each in DECLARATIONS} | names().all_texts


def is_route(word: str) -> bool:
    """Whether a path of HTTP is spelt out in the code; TEI's and others' start like one of them."""
    return word in names().texts


def is_file(word: str) -> bool:
    """Whether a path leads somewhere: from the root, or as the name of one file. ``NAME`` stands for any."""
    if "NAME" in word:
        return (ROOT / word.partition("NAME")[0].rpartition("/")[0]).is_dir()
    if "/" in word:
        return any(ROOT.glob(word.rstrip("/")))
    return (ROOT / word).exists()


def is_header(word: str) -> bool:
    """Whether the code knows the header: as it is written, as a key of WSGI, or in small letters."""
    wsgi = "HTTP_" + word.upper().replace("-", "_")
    return bool({word, word.lower(), wsgi} & names().texts)


def is_module(word: str) -> bool:
    path = ROOT.joinpath(*word.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def is_identifier(word: str) -> bool:
    if word in {each.name for each in DECLARATIONS} | {each.env for each in DECLARATIONS}:
        return True
    found = names()
    first, *others = word.split(".")
    if not others:
        return first in found.known | found.texts
    if is_module(word) or word in found.known:
        return True
    owner = first if first in found.members else first.title().replace("_", "")  # `query.answer`, of a Query
    if owner in found.members:
        return len(others) == 1 and found.has_member(owner, others[0])
    if first in found.tops and others[0] in found.tops[first]:
        return True
    return first not in found.tops and {first, *others} <= found.known


#: What a word is by its shape, and whether such a thing exists. The first shape that fits decides.
CHECKS: list[tuple[str, Callable[[str], bool]]] = [
    (r"https?://.*", lambda _: True),
    (r"autobatch_\w+(\{.*\})?|\{\w+=.*\}", is_metric),
    (r"--[a-z][a-z-]+", is_flag),
    (r"/[\w./:{}-]*", is_route),
    (rf"[\w.*-]+(/[\w.*-]*)+|[\w.-]+\.({FILE_TYPES})|Makefile|Dockerfile|LICENSE", is_file),
    (r"[A-Z][A-Za-z]*(-[A-Z]\w*)+", is_header),
    (r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", is_identifier),
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_name_in_a_document_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    missing = {span: parts for span in spans_of(text) if (parts := unknown(span))}
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_in_a_document_leads_somewhere(path: Path) -> None:
    links = LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    assert [link for link in links if leads_nowhere(link, path)] == []


def test_the_drawing_of_the_folders_shows_what_is_there_and_leaves_no_module_out() -> None:
    drawing = TREE.search((ROOT / "docs" / "design.md").read_text(encoding="utf-8"))
    assert drawing is not None
    drawn = {ROOT / path for path in drawn_in(drawing[1])}
    assert {path for path in drawn if not path.exists()} == set()
    shown = {path.parent for path in drawn if path.suffix == ".py"} - {ROOT}
    modules = {path for folder in shown for path in folder.glob("*.py") if path.stem != "__init__"}
    assert modules - drawn == set()


def test_a_path_is_drawn_below_its_folder() -> None:
    drawing = "a.py   x\nb/     y\n  c/   z\n    d.py\n  e.py\nf/\n"
    assert drawn_in(drawing) == ["a.py", "b/", "b/c/", "b/c/d.py", "b/e.py", "f/"]


@pytest.mark.parametrize("link", ["docs/bread.md", "docs/design.md#bread", "#bread"])
def test_the_check_finds_a_link_that_leads_nowhere(link: str) -> None:
    assert leads_nowhere(link, ROOT / "README.md")


@pytest.mark.parametrize(
    "span",
    [
        "make bread",
        "batching/queue/batch_cue.py",
        "batch_cue.py",
        "api/apis_of_old/NAME.py",
        "--max-bread-size",
        "MAX_BREAD_SIZE",
        'batch_timing_of_old = "fixed"',
        "autobatch_loaves_total",
        'autobatch_items_total{outcome="burnt"}',
        'autobatch_items_total{oven="ok"}',
        "X-Bread-Size",
        "GET /bread",
        '{"breads": ["a"]}',
        "BreadQueue",
        "BatchQueue.bake",
        "relay.bake",
        "python -m tests.bakery",
        "python -m tests.endurance bake",
        "bake_at_once",
    ],
)
def test_the_check_finds_an_invented_name(span: str) -> None:
    assert unknown(span)


@pytest.mark.parametrize(
    "span",
    [
        "make test",
        "batching/queue/batch_queue.py",
        "app.py",
        "--max-batch-size",
        "MAX_BATCH_SIZE",
        'batch_timing = "fixed"',
        'autobatch_items_total{outcome="shed"}',
        "X-Batch-Size",
        "GET /health",
        '{"input": ["a"]}',
        "BatchQueue",
        "BatchQueue.take",
        "relay.wake",
        "python -m tests.endurance integrity --plant",
        "[[…], …]",
        "32",
    ],
)
def test_the_check_knows_what_is_there(span: str) -> None:
    assert unknown(span) == []


def test_spans_are_read_from_text_and_tables_but_not_from_fenced_blocks() -> None:
    document = "a `b` and `c\nd`\n```console\n$ echo `date`\n```\n| `e` |\n"
    assert spans_of(document) == ["b", "c d", "e"]
