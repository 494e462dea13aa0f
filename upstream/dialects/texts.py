"""What servers that embed texts make of a prediction of texts, and what they refuse: other items, and other options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from batching.errors import Unsupported
from batching.key import BatchKey, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item
    from batching.key import Options

_QUOTE = ord('"')
_IS_TEXT_OR_IDS = re.compile(rb'".+|\[\s*\d{1,10}(?:\s*,\s*\d{1,10})*\s*\]', re.DOTALL).fullmatch
_IS_EMPTY = re.compile(rb'""|\[\s*\]').fullmatch


def as_embedding(key: BatchKey, server: str) -> BatchKey:
    """Return the key of the embedding that a prediction of texts is; any other key as it is.

    Raises ``Unsupported`` for members beside the instances. ``server``: with its article, like ``a TEI``.
    """
    if key.task is not Task.PREDICT:
        return key
    if key.options.more:
        name = key.options.more[0][0]
        raise Unsupported(f"{name}: {server} upstream takes texts and no other members", field=name)
    return BatchKey(Task.EMBED, model=key.model)


def check_instances(items: Sequence[Item]) -> None:
    """Raise ``Unsupported`` unless each instance of a prediction is a text or a list of token ids, and not empty."""
    for at, item in enumerate(items):
        if _IS_EMPTY(item):
            raise Unsupported(f"instances[{at}]: must not be empty", field="instances", status=400)
        if not _IS_TEXT_OR_IDS(item):
            message = f"instances[{at}]: this upstream serves embeddings, so it must be a text or a list of token ids"
            raise Unsupported(message, field="instances")


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
