"""The checks that every kind of server has to pass through the proxy: each asks, and says what is wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: How far a number may lie from the server's own, at least: what shares a pass of a model may change the last bits.
TOLERANCE = 2e-6
ONE = "How do birds find their way?"
SEVERAL = ["first of several", "crème brûlée, 東京 ☂ 🚲", "words that go on " * 24]
#: More than most servers' caps, and than one batch.
MANY = [f"sentence number {number}" for number in range(40)]

Vectors = list[list[float]]


def checks(
    ask: Callable[[Any], tuple[int, Any]], direct: Callable[[list[str]], Vectors], bad: str
) -> dict[str, Callable[[], str]]:
    """Return the checks by name; each returns what is wrong, or nothing.

    ``ask`` sends the proxy an ``inputs`` and returns status and body; ``direct`` asks the server itself; ``bad`` is a
    text that the server refuses.
    """
    tolerance = max(TOLERANCE, 2 * spread(direct))
    return {
        "one text": lambda: _as_direct(ask, direct, [ONE], tolerance, given=ONE),
        "a list": lambda: _as_direct(ask, direct, SEVERAL, tolerance),
        "40 texts": lambda: _as_direct(ask, direct, MANY, tolerance),
        "40 at once": lambda: _at_once(ask, direct, MANY, tolerance),
        "a bad text": lambda: _refused(ask, bad),
        "others of a bad text": lambda: _at_once(ask, direct, MANY[:20], tolerance, bad),
    }


def spread(direct: Callable[[list[str]], Vectors]) -> float:
    """Return how far the server's own vectors of texts in one call lie from those of the same texts alone."""
    alone = [row for text in SEVERAL for row in direct([text])]
    return max(_distance(a, b) for a, b in zip(direct(SEVERAL), alone, strict=True))


def difference(got: Any, expected: Vectors, tolerance: float = TOLERANCE) -> str:
    """Return how these vectors differ from those that the server itself gives; nothing where they are the same."""
    if not isinstance(got, list) or len(got) != len(expected):
        return f"not {len(expected)} vectors: {str(got)[:120]}"
    for position, (vector, right) in enumerate(zip(got, expected, strict=True)):
        if len(vector) != len(right):
            return f"text {position}: {len(vector)} numbers, not {len(right)}"
        if (off := _distance(vector, right)) > tolerance:
            return f"text {position}: {off:.2g} from what the server itself answers"
    return ""


def _distance(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _as_direct(
    ask: Callable[[Any], tuple[int, Any]],
    direct: Callable[[list[str]], Vectors],
    texts: list[str],
    tolerance: float,
    *,
    given: Any = None,
) -> str:
    status, body = ask(texts if given is None else given)
    return difference(body, direct(texts), tolerance) if status == 200 else f"{status} {str(body)[:160]}"


def _at_once(
    ask: Callable[[Any], tuple[int, Any]],
    direct: Callable[[list[str]], Vectors],
    texts: list[str],
    tolerance: float,
    bad: str | None = None,
) -> str:
    """Ask for each text in a call of its own, all at once; with a bad one among them, if there is one."""
    with ThreadPoolExecutor(len(texts) + 1) as pool:
        spoiled = None if bad is None else pool.submit(ask, bad)
        answers = [call.result() for call in [pool.submit(ask, text) for text in texts]]
    failed = [(status, body) for status, body in answers if status != 200]
    if failed:
        return f"{len(failed)} of {len(texts)} good texts fail: {failed[0][0]} {str(failed[0][1])[:120]}"
    if spoiled is not None and spoiled.result()[0] < 400:
        return "the bad text is answered"
    return difference([body[0] for _, body in answers], [row for text in texts for row in direct([text])], tolerance)


def _refused(ask: Callable[[Any], tuple[int, Any]], bad: str) -> str:
    status, body = ask(bad)
    return "" if status >= 400 and isinstance(body, dict) and body.get("error") else f"{status} {str(body)[:120]}"
