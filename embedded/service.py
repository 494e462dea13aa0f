"""Takes one call from its checked body to its vectors: permits, tokens, then the model, one call at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedded.errors import EmptyInputError, InvalidRequestError, OverloadedError
from embedded.schemas import DecodeRequest, EmbedInput, EmbedRequest, SimilarityRequest, TokenizeRequest
from embedded.tokens import Token

MAX_CLIENT_BATCH_SIZE = 32
MAX_CONCURRENT_REQUESTS = 512  # inputs, as TEI counts them

Vectors = NDArray[np.float32]
Result = TypeVar("Result")


class Embedder(Protocol):
    """What the server needs of a model; `embedded.model.Model` is the real one."""

    model_id: str
    dimensions: int
    max_input_length: int

    def encode(self, text_or_ids: EmbedInput, *, truncate: bool, direction: str) -> list[int]:
        """Return the token ids of one input. Called from many threads."""

    def embed(self, encoded: Sequence[Sequence[int]], *, normalize: bool, dimensions: int | None) -> Vectors:
        """Return one row per encoded input. Called from one thread at a time."""

    def embed_all(self, encoded: Sequence[Sequence[int]]) -> list[Vectors]:
        """Return one array per encoded input: a row per token. Called from one thread at a time."""

    def tokenize(self, text: str, *, add_special_tokens: bool) -> list[Token]:
        """Return the tokens of a text, however many. Called from many threads."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        """Return the text that token ids spell. Called from many threads."""


class Permits:
    """Lets at most `limit` inputs into the server; a request that would exceed it is refused without waiting."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._lock = threading.Lock()  # guards _free

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Hold `count` permits, or raise `OverloadedError` without waiting."""
        with self._lock:
            if count > self._free:
                raise OverloadedError
            self._free -= count
        try:
            yield
        finally:
            with self._lock:
                self._free += count


@dataclass(frozen=True, slots=True)
class Timings:
    """The seconds that each stage of one call took, and the call's characters and tokens."""

    tokenization: float
    queue: float
    inference: float
    characters: int
    tokens: int

    def headers(self, total: float) -> dict[str, str]:
        """Return TEI's response headers; times in whole milliseconds, as TEI rounds them."""
        return {
            "x-compute-type": "cpu",
            "x-compute-time": _milliseconds(total),
            "x-compute-characters": str(self.characters),
            "x-compute-tokens": str(self.tokens),
            "x-total-time": _milliseconds(total),
            "x-tokenization-time": _milliseconds(self.tokenization),
            "x-queue-time": _milliseconds(self.queue),
            "x-inference-time": _milliseconds(self.inference),
        }


class EmbedService:
    """What the routes ask for. Every method raises `EmbedError` for what the model cannot do."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._permits = Permits(MAX_CONCURRENT_REQUESTS)
        self._inference = threading.Lock()  # one inference at a time, and never two calls in one inference

    def embed(self, call: EmbedRequest) -> tuple[Vectors, Timings]:
        """Return the vectors of `call.inputs`, in order, and what each stage took."""
        return self._compute(
            call, lambda encoded: self._model.embed(encoded, normalize=call.normalize, dimensions=call.dimensions)
        )

    def embed_all(self, call: EmbedRequest) -> tuple[list[Vectors], Timings]:
        """Return an array for each of `call.inputs`, in order: the states of its tokens, neither pooled nor scaled."""
        return self._compute(call, self._model.embed_all)

    def similarity(self, call: SimilarityRequest) -> tuple[Vectors, Timings]:
        """Return the cosine between the source sentence and each of the others, in order."""
        if not call.sentences:
            raise EmptyInputError("`inputs.sentences` cannot be empty")
        vectors, timings = self.embed(call.as_embed_request())
        return cosines(vectors), timings

    def tokenize(self, call: TokenizeRequest) -> list[list[Token]]:
        """Return the tokens of each text, in order; nothing is cut off."""
        _check_count(len(call.inputs))
        _check_prompt(call.prompt_name)
        if not call.inputs or not all(call.inputs):
            raise EmptyInputError
        return [self._model.tokenize(text, add_special_tokens=call.add_special_tokens) for text in call.inputs]

    def decode(self, call: DecodeRequest) -> list[str]:
        """Return the text that each list of token ids spells, in order."""
        _check_count(len(call.ids))
        if not all(call.ids):
            raise EmptyInputError("Input validation error: `input_ids` cannot be empty")
        return [self._model.decode(ids, skip_special_tokens=call.skip_special_tokens) for ids in call.ids]

    def _compute(self, call: EmbedRequest, infer: Callable[[list[list[int]]], Result]) -> tuple[Result, Timings]:
        _check_count(len(call.inputs))
        _check_prompt(call.prompt_name)
        with self._permits.hold(len(call.inputs)):
            started = time.perf_counter()
            encoded = [
                self._model.encode(item, truncate=call.truncate, direction=call.truncation_direction)
                for item in call.inputs
            ]
            tokenized = time.perf_counter()
            with self._inference:
                entered = time.perf_counter()
                result = infer(encoded)
                left = time.perf_counter()
        return result, Timings(
            tokenization=tokenized - started,
            queue=entered - tokenized,
            inference=left - entered,
            characters=sum(map(len, call.inputs)),
            tokens=sum(map(len, encoded)),
        )


def cosines(vectors: Vectors) -> Vectors:
    """Return the cosine between the first of the vectors (n, d) and each of the others: float32, shape (n - 1,)."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    return np.asarray(wide[1:] @ wide[0] / (norms[1:] * norms[0]), np.float32)


def _check_count(count: int) -> None:
    if count > MAX_CLIENT_BATCH_SIZE:
        raise InvalidRequestError(f"batch size {count} > maximum allowed batch size {MAX_CLIENT_BATCH_SIZE}")


def _check_prompt(name: str | None) -> None:
    if name is not None:
        raise InvalidRequestError(
            f"Input validation error: `default-prompt-name` is set to `{name}` but "
            "no prompts were found in the Sentence Transformers configuration"
        )


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
