"""Formats the effective settings as aligned lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.settings import DECLARATIONS
from config.sizing import thread_count

if TYPE_CHECKING:
    from config.declare import Declaration
    from config.settings import Settings


def banner(settings: Settings, *, version: str, url: str) -> str:
    """Return the lines printed at start; no secret is among them, only whether it is set."""
    return f"Auto-Batching Proxy {version} on {url}\n{effective_settings(settings)}"


def effective_settings(settings: Settings) -> str:
    """Return one aligned line a setting: name, value and, where it is not the default, its source."""
    rows = [(each.name, *_value_and_source(each, settings)) for each in DECLARATIONS]
    name_width = max(len(name) for name, _, _ in rows)
    # Only values with a source beside them are aligned, so that a long list of URLs does not widen the column.
    value_width = min(max((len(value) for _, value, source in rows if source), default=0), 40)
    lines = (f"  {name:<{name_width}}  {value:<{value_width}}  {source}" for name, value, source in rows)
    return "\n".join(line.rstrip() for line in lines)


def _value_and_source(declaration: Declaration, settings: Settings) -> tuple[str, str]:
    value = getattr(settings, declaration.name)
    if declaration.name == "threads" and not value:
        return f"{thread_count(settings)} (derived)", ""
    is_default = value == declaration.default
    return declaration.show(value), "" if is_default else f"({settings.source(declaration.name)})"
