"""What is said of what a client got."""

from __future__ import annotations

import pytest

from tests.clients.judging import problems

VECTORS = {"a": [0.6, 0.8], "b": [1.0, 0.0]}


def reference(text, options):
    return [2 * number for number in VECTORS[text]] if options.get("normalize") is False else VECTORS[text]


def told(**fields):
    return {"case": "list", "texts": ["a", "b"], "vectors": [VECTORS["a"], VECTORS["b"]], **fields}


def test_right_vectors_are_no_problem() -> None:
    assert problems([told(), {"case": "models", "value": ["m"]}, {"case": "empty", "refusal": "no"}], reference) == []


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (told(vectors=[VECTORS["b"], VECTORS["a"]]), "list: text 0: differs from /embed by 0.8"),
        (told(vectors=[VECTORS["a"]]), "list: 1 vectors for 2 texts"),
        (told(vectors=[VECTORS["a"], [1.0, 3e-6]]), "list: text 1: differs from /embed by 3e-06"),
        (told(vectors=[VECTORS["a"], [1.0]]), "list: text 1: no vector of 2 numbers: [1.0]"),
        (told(vectors=[VECTORS["a"], "AAA"]), "list: text 1: no vector of 2 numbers: AAA"),
        (told(options={"normalize": False}), "list: text 0: differs from /embed by 0.8"),
        ({"case": "list", "error": "NotFoundError: 404"}, "list: NotFoundError: 404"),
    ],
)
def test_wrong_vectors_are_told_with_their_place(case, problem) -> None:
    assert problems([case], reference) == [problem]


def test_of_a_scaled_vector_only_the_direction_counts() -> None:
    assert problems([told(vectors=[[3.0, 4.0], [5.0, 0.0]], scaled=True)], reference) == []


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("rows", [[0.6, 0.8], [1.0, 0.0]]),
        ("embeddings", {"embeddings": [[0.6, 0.8], [1.0, 0.0]]}),
        ("predictions", {"predictions": [[0.6, 0.8], [1.0, 0.0]]}),
        ("data", {"data": [{"index": 1, "embedding": [1.0, 0.0]}, {"index": 0, "embedding": [0.6, 0.8]}]}),
    ],
)
def test_vectors_are_found_in_an_answer_as_it_came(form, answer) -> None:
    case = {"case": "list", "texts": ["a", "b"], "form": form, "answer": answer}

    assert problems([case], reference) == []


def test_an_answer_without_vectors_is_shown() -> None:
    case = {"case": "list", "texts": ["a"], "form": "data", "answer": {"error": "no such route"}}

    assert problems([case], reference) == ["list: no vectors in {'error': 'no such route'}"]


def test_cases_that_have_to_agree_to_the_last_bit_are_compared() -> None:
    nearly = [[0.6, 0.8], [1.0, 1e-7]]

    assert problems([told(bits="x"), told(case="other", bits="x"), told(vectors=nearly)], reference) == []
    assert problems([told(bits="x"), told(case="other", bits="x", vectors=nearly)], reference) == [
        "other: other bits than list"
    ]
