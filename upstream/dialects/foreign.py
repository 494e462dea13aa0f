"""What becomes of members that clients wrote for another kind of server than the one behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.errors import Unsupported

if TYPE_CHECKING:
    from batching.key import Options

#: Members that change vectors where they are known (OpenAI-compatible servers, Voyage, Jina, NIM, Cohere, vLLM), each
#: with the values that ask for what a server does anyway. ``null`` is one of these for all.
_MATTERS: dict[str, frozenset[bytes]] = {
    **dict.fromkeys(("input_type", "task", "task_type", "prompt", "prompt_name", "instruction"), frozenset()),
    **dict.fromkeys(("truncate_prompt_tokens", "output_dimension", "pooling", "messages"), frozenset()),
    **dict.fromkeys(("late_chunking", "multi_vector", "return_multivector"), frozenset({b"false"})),
    **dict.fromkeys(("add_special_tokens", "normalize", "normalized", "use_activation"), frozenset({b"true"})),
    **dict.fromkeys(("output_dtype", "embedding_type", "embed_dtype"), frozenset({b'"float"', b'"float32"'})),
    "modality": frozenset({b'"text"'}),
}


def without_foreign(options: Options, family: str) -> Options:
    """Return the options without members of another API's than ``family``; the server would read over them.

    Raises ``Unsupported`` for one that would change the result at a server that knows it.
    """
    if not options.more or options.family == family:
        return options
    for name, value in options.more:
        if value in {b"{}", b"[]"}:
            continue  # it asks for nothing
        if name in _MATTERS and value != b"null" and value not in _MATTERS[name]:
            raise Unsupported(f"{name}: this upstream cannot do it, and its result would differ without", field=name)
    return options._replace(more=(), family="")
