"""What a TEI's ``/info`` says of its model, and which tasks such a model can do."""

from __future__ import annotations

from typing import Any, NamedTuple

from batching.errors import Unsupported
from batching.key import BatchKey, Task
from upstream.dialects.relaying import plain

#: What TEI calls the kinds of models in ``model_type``.
KINDS = ("embedding", "classifier", "reranker")
_SPLADE = "splade"


class TeiModel(NamedTuple):
    """A model as far as it is known; None is unknown."""

    #: ``embedding``, ``classifier`` or ``reranker``.
    kind: str | None = None
    #: How an embedding is made of tokens.
    pooling: str | None = None
    #: Hash of the weights.
    sha: str | None = None
    #: What holds for a request that says nothing of ``truncate``.
    auto_truncate: bool | None = None

    @property
    def revision(self) -> str | None:
        """What tells two models of one name apart."""
        return ", ".join(filter(None, [self.sha, self.pooling])) or None

    @property
    def purpose(self) -> str | None:
        """What the model is for: its kind, or ``sparse``."""
        return "sparse" if self._is_sparse else self.kind

    @property
    def _is_sparse(self) -> bool:
        return self.kind == "embedding" and self.pooling == _SPLADE

    def can(self, key: BatchKey) -> bool:
        """Whether the model is not known to be unable to do it."""
        return not self._why_not(key)

    def check(self, key: BatchKey) -> None:
        """Raise ``Unsupported`` with TEI's own status and words if the model cannot do it.

        The server is not asked: it would answer 424, as it does when it fails, and after a few of those it would be
        left alone.
        """
        if why := self._why_not(key):
            problem = Unsupported(f"Backend error: {why}", status=424)
            problem.error_type = "Backend"
            raise problem

    def _why_not(self, key: BatchKey) -> str:
        if self.kind is None:
            return ""
        if key.task is Task.CLASSIFY:
            return "Model is not a classifier model" if self.kind == "embedding" else ""
        if key.task is Task.EMBED_SPARSE:
            can = self._is_sparse or (self.kind == "embedding" and self.pooling is None)
            return "" if can else "Model is not an embedding model with SPLADE pooling"
        if self.kind != "embedding":
            return "Model is not an embedding model"
        if not self._is_sparse:
            return ""
        if key.task is Task.EMBED_ALL:
            return "`embed_all` is not available for SPLADE models"
        return "" if key.options.normalize is False else "`normalize` is not available for SPLADE models"


def model_of(said: dict[str, Any]) -> TeiModel:
    """Read the object that ``/info`` answers."""
    kinds = said.get("model_type")
    kinds = {kind.lower(): value for kind, value in kinds.items()} if isinstance(kinds, dict) else {}
    kind = next((each for each in KINDS if each in kinds), None)
    embedding = kinds.get("embedding")
    truncates = said.get("auto_truncate")
    return TeiModel(
        kind,
        _text(embedding.get("pooling")) if isinstance(embedding, dict) else None,
        _text(said.get("model_sha")),
        truncates if isinstance(truncates, bool) else None,
    )


def _text(value: object) -> str | None:
    return plain(value) or None if isinstance(value, str) else None
