"""Writes the declarations as documents: the table in docs/settings.md, and config.toml."""

from __future__ import annotations

import json
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from config.settings import DECLARATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from config.declare import Declaration

BEGIN = "<!-- settings:begin -->"
END = "<!-- settings:end -->"
#: The page that holds the table of settings, from the project's root.
PAGE = "docs/settings.md"

_NOTE = """\
One name serves everywhere: `max_batch_size` in `config.toml` is `MAX_BATCH_SIZE` in the environment and
`--max-batch-size` on the command line. A flag beats the environment, which beats the file, which beats the
default. `--config PATH` or `CONFIG_FILE` names another file. Where another program has a variable of the same
name, the one with AUTOBATCH_ in front of it beats it."""

_TOML_HEADING = """\
# Settings of the Auto-Batching Proxy, each with its default. An environment variable (the key in capitals)
# beats this file, and a flag (the key with dashes) beats both. `python -m config` shows what is in effect.
# Where another program has a variable of the same name, the key behind AUTOBATCH_ beats it.
"""


class MarkersMissingError(Exception):
    """The page of the settings lacks the markers between which its table belongs."""


def markdown_table() -> str:
    """Return the table of settings in Markdown, with the note on their names above it."""
    rows = ["| Setting | Default | Range | Meaning |", "|---|---|---|---|"]
    for each in DECLARATIONS:
        name = each.env if each.secret else each.name
        default = each.show(each.default)
        default = default if each.default in ((), None, "") else f"`{default}`"
        cells = (f"`{name}`", default, each.limits, each.meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([_NOTE, "", *rows, ""])


def toml_file() -> str:
    """Return config.toml: every setting with its comment and default; a setting without default is commented out."""
    parts = [_TOML_HEADING]
    for title, declarations in groupby(DECLARATIONS, key=lambda each: each.group):
        parts.append(f"\n# ---- {title} ----\n")
        parts.extend(_toml_entry(each) for each in declarations)
    return "".join(parts)


def page_with_table(page: str) -> str:
    """Return the text of `PAGE` with the table between its markers renewed.

    Raises:
        MarkersMissingError: the markers are not there, once each and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise MarkersMissingError(f"{PAGE} must hold {BEGIN} and then {END}, once each")
    return f"{before}{BEGIN}\n{markdown_table()}{END}{after}"


def write_documents(root: Path) -> None:
    """Rewrite config.toml and the table in `PAGE`, both below folder `root`.

    Raises:
        MarkersMissingError: the page does not say where the table belongs; nothing was written.
        OSError: a file cannot be read or written.
    """
    page = root / PAGE
    renewed = page_with_table(page.read_text(encoding="utf-8"))
    page.write_text(renewed, encoding="utf-8")
    (root / "config.toml").write_text(toml_file(), encoding="utf-8")


def _toml_entry(declaration: Declaration) -> str:
    words = f"{declaration.meaning} ({declaration.limits})"
    if declaration.secret:
        words = f"{declaration.env}: {declaration.meaning} (environment only, never in this file)"
        return f"\n{_comment(words)}\n"
    if declaration.example is not None:
        line = f"# {declaration.name} = {json.dumps(declaration.example)}"
    else:
        line = f"{declaration.name} = {json.dumps(declaration.default)}"
    return f"\n{_comment(words)}\n{line}\n"


def _comment(words: str) -> str:
    return textwrap.fill(words, width=100, initial_indent="# ", subsequent_indent="# ")
