"""Runs the sentence model: text to token ids, token ids to vectors, in passes with little padding."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedded import weights
from embedded.errors import EmptyInputError, InvalidRequestError, TokenizerError
from embedded.tokens import Token, tokens_of

MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSIONS = 384
MAX_INPUT_LENGTH = 256  # tokens, [CLS] and [SEP] included: what the model was trained on
MAX_INPUT_CHARS = 250 * MAX_INPUT_LENGTH  # as TEI: a text is cut to this before it is tokenized
PASS_BUDGET = 512  # rows x longest: past this, a bigger pass is slower per text (measured, t=1 and t=2)
PASS_COST = 8  # tokens' time that starting one more pass costs (measured: 2.3 ms against 0.36 ms a token)

Vectors = NDArray[np.float32]
Step = Callable[[str], AbstractContextManager[None]]


def plan_passes(lengths: Sequence[int], budget: int = PASS_BUDGET) -> list[list[int]]:
    """Group the positions of `lengths` (tokens) into passes, shortest texts first.

    A pass costs its rows times its longest text, padding included. It never exceeds `budget` tokens (a text
    longer than that stands alone), and a text joins the pass before it only while the padding this brings
    costs less than a pass of its own.
    """
    passes: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[position]
        if passes:
            rows, longest = len(passes[-1]), lengths[passes[-1][-1]]
            if (rows + 1) * length <= budget and rows * (length - longest) <= PASS_COST:
                passes[-1].append(position)
                continue
        passes.append([position])
    return passes


def finish(pooled: Vectors, *, normalize: bool, dimensions: int | None) -> Vectors:
    """Cut pooled vectors (n, 384) to their first `dimensions`, then scale them to length 1 if asked.

    The order is TEI's (Matryoshka: the shortened vector is a unit vector). Raise `InvalidRequestError` where
    the model has no such number of dimensions.
    """
    if dimensions is not None:
        check_dimensions(dimensions, pooled.shape[1])
        pooled = pooled[:, :dimensions]
    if normalize:
        norms = np.sqrt(np.square(pooled, dtype=np.float64).sum(axis=1, keepdims=True))
        pooled = pooled * (1.0 / norms).astype(np.float32)
    return np.ascontiguousarray(pooled, dtype=np.float32)


def check_dimensions(dimensions: int, available: int) -> None:
    """Raise `InvalidRequestError`, in TEI's words, unless 1 <= dimensions <= available."""
    if dimensions < 1:
        raise InvalidRequestError("Input validation error: `dimensions` should be positive")
    if dimensions > available:
        raise InvalidRequestError(
            "Input validation error: `dimensions` should be smaller than the maximum embedding dimension."
        )


class Model:
    """all-MiniLM-L6-v2 on the CPU. Its tokenizer is thread-safe; only one thread at a time may embed."""

    model_id = MODEL_ID
    dimensions = DIMENSIONS
    max_input_length = MAX_INPUT_LENGTH

    def __init__(self, model_path: Path, tokenizer_path: Path, *, threads: int = 1) -> None:
        self._session = _open_session(model_path, threads)
        # Truncation is a setting of a tokenizer, not of a call: one tokenizer each way, shared by all threads.
        self._whole = _open_tokenizer(tokenizer_path, None)
        self._keep_head = _open_tokenizer(tokenizer_path, "right")
        self._keep_tail = _open_tokenizer(tokenizer_path, "left")

    def encode(self, text_or_ids: str | list[int], *, truncate: bool, direction: str = "right") -> list[int]:
        """Return the token ids of one input, [CLS] and [SEP] included; at most `max_input_length` of them.

        `direction` ("right" or "left") is the end that truncation cuts. Token ids are decoded and encoded
        again, as TEI does, so they are taken as they are: without [CLS] and [SEP] unless they bring them.
        Raise `EmptyInputError`, `InvalidRequestError` (too long and not `truncate`) or `TokenizerError`.
        """
        if not text_or_ids:
            raise EmptyInputError
        is_text = isinstance(text_or_ids, str)
        text = text_or_ids if isinstance(text_or_ids, str) else self.decode(text_or_ids, skip_special_tokens=False)
        if not truncate and len(text_or_ids) > MAX_INPUT_CHARS:
            raise _too_long(MAX_INPUT_CHARS, "characters", len(text_or_ids))
        if not truncate:
            ids = self._whole.encode(text, add_special_tokens=is_text).ids
        elif direction == "left":
            ids = self._keep_tail.encode(text[-MAX_INPUT_CHARS:], add_special_tokens=is_text).ids
        else:
            ids = self._keep_head.encode(text[:MAX_INPUT_CHARS], add_special_tokens=is_text).ids
        if len(ids) > MAX_INPUT_LENGTH:
            raise _too_long(MAX_INPUT_LENGTH, "tokens", len(ids))
        if not ids:
            raise TokenizerError("tokenizer error: `inputs` holds no token this model knows")
        return list(ids)

    def embed(
        self, encoded: Sequence[Sequence[int]], *, normalize: bool = True, dimensions: int | None = None
    ) -> Vectors:
        """Return one vector per encoded input, in order: float32, shape (len(encoded), dimensions or 384).

        A vector does not depend on what shares its pass. Raise `InvalidRequestError` for `dimensions` outside
        1..384.
        """
        if dimensions is not None:
            check_dimensions(dimensions, DIMENSIONS)  # before the work, not after it
        pooled = np.empty((len(encoded), DIMENSIONS), np.float32)
        for positions in plan_passes([len(ids) for ids in encoded]):
            pooled[positions] = _mean(*self._run_pass([encoded[position] for position in positions]))
        return finish(pooled, normalize=normalize, dimensions=dimensions)

    def embed_all(self, encoded: Sequence[Sequence[int]]) -> list[Vectors]:
        """Return one array per encoded input, in order: float32, shape (its tokens, 384), neither pooled nor scaled."""
        arrays: dict[int, Vectors] = {}
        for positions in plan_passes([len(ids) for ids in encoded]):
            states, _ = self._run_pass([encoded[position] for position in positions])
            for row, position in enumerate(positions):
                arrays[position] = states[row, : len(encoded[position])]
        return [np.ascontiguousarray(arrays[position]) for position in range(len(encoded))]

    def tokenize(self, text: str, *, add_special_tokens: bool) -> list[Token]:
        """Return the tokens of a text, however many."""
        found = self._whole.encode(text, add_special_tokens=add_special_tokens)
        return tokens_of(text, found.ids, found.tokens, found.special_tokens_mask, found.offsets)

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        """Return the text that token ids spell; an id outside the vocabulary is left out."""
        return self._whole.decode(ids, skip_special_tokens=skip_special_tokens)

    def _run_pass(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, NDArray[np.int64]]:
        """Return the states of the rows' tokens, shape (len(rows), longest, 384), and their mask: 0 at the padding."""
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states: Vectors = self._session.run(["last_hidden_state"], feed)[0]
        return states, mask


def load(*, threads: int = 1, step: Step = lambda _: nullcontext()) -> Model:
    """Check the weights, open the model with `threads` threads per inference, and warm it up.

    Each stage runs inside `step(what)`, so the caller can show progress. Raise `WeightsError`.
    """
    with step("checking weights"):
        model_path = weights.MODEL.verify()
    with step("checking tokenizer"):
        tokenizer_path = weights.TOKENIZER.verify()
    with step("opening session"):
        model = Model(model_path, tokenizer_path, threads=threads)
    with step("warming up"):
        model.embed([model.encode("The first inference is the slowest.", truncate=True)])
    return model


def _mean(states: Vectors, mask: NDArray[np.int64]) -> Vectors:
    """Return the mean of each row's token states, padding left out: shape (rows, 384)."""
    weight = mask[..., None].astype(np.float32)
    means: Vectors = (states * weight).sum(axis=1) / weight.sum(axis=1)
    return means


def _too_long(limit: int, unit: str, given: int) -> InvalidRequestError:
    return InvalidRequestError(f"Input validation error: `inputs` must have less than {limit} {unit}. Given: {given}")


def _open_session(path: Path, threads: int) -> Any:
    # onnxruntime sends telemetry to its maker, and keeps a device id in the home folder, unless this is set
    # before it is imported.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # A spinning thread would take the core that the proxy needs between two inferences.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _open_tokenizer(path: Path, direction: str | None) -> Tokenizer:
    # The tokenizer's own pool would ignore `threads`; set before its first use, it stays a single thread.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()  # the file pads every text to 128 tokens
    tokenizer.no_truncation()
    if direction is not None:
        tokenizer.enable_truncation(MAX_INPUT_LENGTH, direction=direction)
    return tokenizer
