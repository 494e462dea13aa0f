"""Prints the effective settings, or writes the documents that are generated from their declarations."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from config.banner import effective_settings
from config.errors import SettingsError
from config.sources import DEFAULT_FILE, load_settings
from config.table import PAGE, MarkersMissingError, markdown_table, toml_file, write_documents

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = """\
python -m config [--SETTING VALUE ...]  print the settings in effect (flags: python app.py --help)
python -m config --table                print the table of settings in Markdown
python -m config --toml                 print config.toml with every setting and its default
python -m config --write-docs           rewrite that table in docs/settings.md, and config.toml
"""


def main(argv: Sequence[str]) -> int:
    """Run one command; return the exit status."""
    try:
        sys.stdout.write(_answer(list(argv)))
    except (SettingsError, MarkersMissingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _answer(argv: list[str]) -> str:
    match argv:
        case ["--help" | "-h"]:
            return _USAGE
        case ["--table"]:
            return markdown_table()
        case ["--toml"]:
            return toml_file()
        case ["--write-docs"]:
            write_documents(DEFAULT_FILE.parent)
            return f"Wrote config.toml and the table of settings in {PAGE}.\n"
        case _:
            return effective_settings(load_settings(argv)) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
