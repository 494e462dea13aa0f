"""What servers refuse that embed texts and know no options: token ids, and what would change the vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item
    from batching.key import Options

_QUOTE = ord('"')


def check_texts(items: Sequence[Item], kind: str) -> None:
    """Raise ``Unsupported`` unless each item is a text."""
    for item in items:
        if item[0] != _QUOTE:
            other = "no token ids" if item[:1] == b"[" else "nothing else"
            raise Unsupported(f"a {kind} upstream embeds texts, {other}", field="inputs")


def check_options(options: Options, kind: str) -> None:
    """Raise ``Unsupported`` for an option that changes vectors: the server would read over it."""
    wanted = {
        "dimensions": options.dimensions is not None,
        "prompt_name": options.prompt_name is not None,
        "normalize": options.normalize is False,
        "truncation_direction": options.truncation_direction == "left",
    }
    for name, is_wanted in wanted.items():
        if is_wanted:
            raise Unsupported(f"{name}: a {kind} upstream has no such option", field=name)
