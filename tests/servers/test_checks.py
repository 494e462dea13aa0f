"""The checks of real servers notice what a proxy could do wrong."""

from __future__ import annotations

import pytest

from tests.servers.checks import MANY, checks, difference, spread

BAD = "bad"


def vector(text):
    return [float(len(text)), 0.5]


def direct(texts):
    return [vector(text) for text in texts]


def right(given):
    texts = [given] if isinstance(given, str) else given
    return (500, {"error": "cannot"}) if BAD in texts else (200, direct(texts))


def found(ask) -> dict[str, str]:
    return {name: problem for name, check in checks(ask, direct, BAD).items() if (problem := check())}


def test_a_right_proxy_passes_them_all() -> None:
    assert found(right) == {}


def test_a_proxy_that_mixes_texts_up_is_noticed() -> None:
    def mixed(given):
        status, body = right(given)
        return status, body[::-1] if status == 200 else body

    assert set(found(mixed)) == {"a list", "40 texts"}


def test_a_proxy_may_differ_as_much_as_the_servers_own_vectors_do() -> None:
    def unsteady(texts):
        return [[number + 1e-5 * (len(texts) > 1) for number in vector(text)] for text in texts]

    def unsteady_checks(off):
        every = checks(lambda given: (200, [[n + off for n in row] for row in right(given)[1]]), unsteady, BAD)
        return {every["one text"](), every["40 texts"]()}

    assert spread(unsteady) == pytest.approx(1e-5)
    assert unsteady_checks(1e-5) == {""}
    assert "" not in unsteady_checks(5e-5)


def test_a_bad_text_that_takes_others_with_it_is_noticed() -> None:
    def harmed(given):
        return (500, {"error": "cannot"}) if given == MANY[3] else right(given)

    assert set(found(harmed)) == {"40 at once", "others of a bad text"}


def test_a_bad_text_that_is_answered_is_noticed() -> None:
    assert set(found(lambda given: (200, direct([given] if isinstance(given, str) else given)))) == {
        "a bad text",
        "others of a bad text",
    }


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        ([[1.0, 0.5]], ""),
        ([[1.0, 0.5 + 1e-6]], ""),
        ([[1.0, 0.5 + 3e-6]], "text 0: 3e-06 from what the server itself answers"),
        ([[1.0]], "text 0: 1 numbers, not 2"),
        ([], "not 1 vectors: []"),
        ({"error": "no"}, "not 1 vectors: {'error': 'no'}"),
    ],
)
def test_a_difference_is_told(got, problem) -> None:
    assert difference(got, [[1.0, 0.5]]) == problem
