"""Formats the effective settings as aligned lines of text, or as members of one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.logs import on_one_line
from config.settings import DECLARATIONS
from config.sizing import thread_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.declare import Declaration
    from config.settings import Settings


def heading(*, version: str, url: str) -> str:
    """Return the line that says what runs where."""
    return f"Auto-Batching Proxy {version} on {url}"


def upstream_line(url: str, sentence: str) -> str:
    """Return the line that says what one upstream speaks, and what it would be sent."""
    return f"  upstream {on_one_line(url)} {on_one_line(sentence)}"


def banner(settings: Settings, *, version: str, url: str) -> str:
    """Return the lines printed at start; no secret is among them, only whether it is set."""
    return f"{heading(version=version, url=url)}\n{effective_settings(settings)}"


def banner_members(
    settings: Settings, *, version: str, url: str, upstreams: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the same as members of a JSON object: ``version``, ``url``, ``settings`` and ``sources``, by name.

    ``sources`` has the settings that are not their default. Of a secret only whether it is set is there.
    ``upstreams``: for each URL what it speaks.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for each in DECLARATIONS:
        value = getattr(settings, each.name)
        values[each.name] = each.show(value) if each.secret else value
        if value != each.default:
            sources[each.name] = settings.source(each.name)
    if not settings.threads:
        values["threads"] = thread_count(settings)
        sources["threads"] = "derived"
    members = {"version": version, "url": url, "settings": values, "sources": sources}
    return members | ({"upstreams": dict(upstreams)} if upstreams else {})


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
