"""The real model: its passes, its vectors, and its pinned files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from embedded import weights
from embedded.errors import EmbedError, EmptyInputError, InvalidRequestError, TokenizerError
from embedded.model import DIMENSIONS, MAX_INPUT_LENGTH, Model, finish, load, plan_passes
from embedded.tokens import Token

PROJECT_ROOT = Path(__file__).resolve().parents[2]

PAIRS = [
    ("The cat sleeps on the warm windowsill.", "A kitten is napping by the window."),
    ("How do I reset my password?", "I forgot my login credentials and need new ones."),
    ("The stock market fell sharply on Monday.", "Shares dropped steeply at the start of the week."),
    ("She plays the violin in an orchestra.", "Her instrument is the fiddle, and she performs with a symphony."),
    ("Boil the pasta for nine minutes.", "Cook the spaghetti until it is al dente."),
]
SENTENCES = [sentence for pair in PAIRS for sentence in pair]


@pytest.fixture(scope="session")
def model() -> Model:
    return load()


def ids_of(model: Model, *texts: str) -> list[list[int]]:
    return [model.encode(text, truncate=True) for text in texts]


# Planning: no model needed


def test_no_texts_need_no_pass() -> None:
    assert plan_passes([], 512) == []


def test_texts_of_one_length_share_a_pass_up_to_the_budget() -> None:
    assert [len(p) for p in plan_passes([8] * 100, 512)] == [64, 36]


def test_a_long_text_never_pads_the_short_ones() -> None:
    assert plan_passes([128, 8, 8, 8], 512) == [[1, 2, 3], [0]]


def test_a_text_longer_than_the_budget_stands_alone() -> None:
    assert plan_passes([600, 600, 4], 512) == [[2], [0], [1]]


def test_a_little_padding_is_cheaper_than_another_pass() -> None:
    assert plan_passes([8, 9, 10], 512) == [[0, 1, 2]]


@pytest.mark.parametrize("seed", range(20))
def test_every_text_is_in_one_pass_and_no_pass_exceeds_the_budget(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(2, 257, size=32).tolist()

    passes = plan_passes(lengths, 512)

    assert sorted(position for group in passes for position in group) == list(range(32))
    assert all(len(group) * max(lengths[position] for position in group) <= 512 for group in passes)


# Finishing


def test_vectors_are_cut_before_they_are_normalised() -> None:
    pooled = np.array([[3.0, 4.0, 12.0]], np.float32)

    assert finish(pooled, normalize=True, dimensions=2).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert finish(pooled, normalize=False, dimensions=None).tolist() == [[3.0, 4.0, 12.0]]


# Embedding


def test_a_sentence_lies_nearest_to_its_paraphrase(model: Model) -> None:
    vectors = model.embed(ids_of(model, *SENTENCES))
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1.0)

    assert similarity.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]


def test_vectors_have_the_declared_shape_and_length_one(model: Model) -> None:
    vectors = model.embed(ids_of(model, *SENTENCES))

    assert vectors.shape == (10, DIMENSIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_a_vector_does_not_depend_on_what_shares_its_batch(model: Model) -> None:
    texts = [*SENTENCES, "short", "long " * 200, "medium " * 40]
    encoded = ids_of(model, *texts)
    assert len(plan_passes([len(ids) for ids in encoded])) < len(texts)  # some do share a pass

    together = model.embed(encoded)
    alone = np.concatenate([model.embed([ids]) for ids in encoded])

    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_order_survives_the_sorting_by_length(model: Model) -> None:
    texts = ["long " * 100, "a", "some words here", "b"]

    forward = model.embed(ids_of(model, *texts))
    backward = model.embed(ids_of(model, *reversed(texts)))

    np.testing.assert_allclose(forward, backward[::-1], atol=1e-5)


def test_raw_vectors_point_where_the_normalised_ones_do(model: Model) -> None:
    encoded = ids_of(model, SENTENCES[0])
    raw = model.embed(encoded, normalize=False)

    assert abs(np.linalg.norm(raw) - 1.0) > 0.1
    np.testing.assert_allclose(raw / np.linalg.norm(raw), model.embed(encoded), atol=1e-6)


def test_fewer_dimensions_are_the_first_ones_at_length_one(model: Model) -> None:
    encoded = ids_of(model, SENTENCES[0])
    head = model.embed(encoded)[:, :64]

    np.testing.assert_allclose(model.embed(encoded, dimensions=64), head / np.linalg.norm(head), atol=1e-6)


@pytest.mark.parametrize(
    ("dimensions", "words"), [(0, "positive"), (-1, "positive"), (385, "smaller than the maximum")]
)
def test_dimensions_the_model_lacks_are_refused(model: Model, dimensions: int, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        model.embed([[101, 102]], dimensions=dimensions)


# Encoding


def test_a_text_is_cut_to_the_longest_input_keeping_its_special_tokens(model: Model) -> None:
    cls, sep = model.encode("x", truncate=True)[0], model.encode("x", truncate=True)[-1]
    head = model.encode("first " + "word " * 400 + "last", truncate=True, direction="right")
    tail = model.encode("first " + "word " * 400 + "last", truncate=True, direction="left")

    assert len(head) == len(tail) == MAX_INPUT_LENGTH
    assert (head[0], head[-1]) == (tail[0], tail[-1]) == (cls, sep)
    assert head[1] == model.encode("first", truncate=True)[1]
    assert tail[-2] == model.encode("last", truncate=True)[1]


def test_a_text_too_long_is_refused_when_it_may_not_be_cut(model: Model) -> None:
    with pytest.raises(InvalidRequestError) as error:
        model.encode("word " * 300, truncate=False)

    assert str(error.value) == ("Input validation error: `inputs` must have less than 256 tokens. Given: 302")


def test_a_text_of_too_many_characters_is_refused_before_it_is_tokenized(model: Model) -> None:
    with pytest.raises(InvalidRequestError, match=r"must have less than 64000 characters\. Given: 64001"):
        model.encode("x" * 64_001, truncate=False)


def test_token_ids_mean_the_text_they_spell(model: Model) -> None:
    ids = model.encode("hello world", truncate=True)

    assert model.encode(ids, truncate=True) == ids
    assert model.encode(ids[1:-1], truncate=True) == ids[1:-1]


@pytest.mark.parametrize(("item", "error"), [("", EmptyInputError), ([], EmptyInputError), ([10**6], TokenizerError)])
def test_an_input_without_tokens_is_refused(model: Model, item: str | list[int], error: type[EmbedError]) -> None:
    with pytest.raises(error):
        model.encode(item, truncate=True)


def test_a_blank_text_still_has_a_vector(model: Model) -> None:
    assert np.isfinite(model.embed(ids_of(model, "   "))).all()


# Tokens


def test_token_vectors_are_those_whose_mean_is_the_vector(model: Model) -> None:
    encoded = ids_of(model, "a", "b c", "long " * 100)

    states = model.embed_all(encoded)

    assert [array.shape for array in states] == [(len(ids), DIMENSIONS) for ids in encoded]
    means = np.stack([array.mean(axis=0) for array in states])
    np.testing.assert_allclose(means, model.embed(encoded, normalize=False), atol=1e-5)


def test_tokens_are_told_as_tei_tells_them(model: Model) -> None:
    tokens = model.tokenize("What is \u00e9?", add_special_tokens=True)

    assert [astuple(token) for token in tokens] == [
        (101, "[CLS]", True, None, None),
        (2054, "What", False, 0, 4),
        (2003, "is", False, 5, 7),
        (1041, "é", False, 8, 10),
        (1029, "?", False, 10, 11),
        (102, "[SEP]", True, None, None),
    ]
    assert model.tokenize("a", add_special_tokens=False) == [Token(1037, "a", special=False, start=0, stop=1)]


def test_a_text_of_any_length_is_told_whole(model: Model) -> None:
    assert len(model.tokenize("word " * 300, add_special_tokens=True)) == 302


def test_token_ids_are_decoded_with_and_without_the_special_ones(model: Model) -> None:
    assert model.decode([101, 2054, 102], skip_special_tokens=True) == "what"
    assert model.decode([101, 2054, 102], skip_special_tokens=False) == "[CLS] what [SEP]"
    assert model.decode([2003], skip_special_tokens=False) == "is"


# Weights and loading


def test_loading_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # no CI variable: that mutes telemetry too

    subprocess.run(
        [sys.executable, "-B", "-c", "from embedded.model import load; load()"],
        cwd=PROJECT_ROOT,
        env=environment,
        check=True,
    )

    assert list(tmp_path.rglob("*")) == []


def test_loading_reports_its_steps_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    @contextmanager
    def record(what: str) -> Iterator[None]:
        steps.append(what)
        yield

    load(step=record)

    assert steps == ["checking weights", "checking tokenizer", "opening session", "warming up"]


def test_a_missing_package_says_how_to_install_it() -> None:
    absent = weights.WeightsFile(distribution="no-such-package", name="model.onnx", sha256="")

    with pytest.raises(weights.WeightsError, match=r"make run.*requirements-model\.txt"):
        absent.locate()


def test_a_missing_file_says_which_one() -> None:
    absent = weights.WeightsFile(distribution=weights.MODEL.distribution, name="nothing.onnx", sha256="")

    with pytest.raises(weights.WeightsError, match=r"nothing\.onnx is missing.*make run"):
        absent.verify()


def test_a_file_that_is_not_the_pinned_one_is_never_loaded() -> None:
    tampered = weights.WeightsFile(
        distribution=weights.TOKENIZER.distribution, name=weights.TOKENIZER.name, sha256="0" * 64
    )

    with pytest.raises(weights.WeightsError, match=r"is not the pinned file.*refusing"):
        tampered.verify()
