"""Makes what the upstreams say of themselves known to the routes: models, limits, what the model is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.apis.about import About
from api.apis.query import Bounds
from batching import Observer
from batching.key import Task

if TYPE_CHECKING:
    from batching import Capacity
    from upstream.dialects.dialect import UpstreamInfo
    from upstream.speakers import Speakers

_TASKS = {"classifier": Task.CLASSIFY, "reranker": Task.CLASSIFY, "sparse": Task.EMBED_SPARSE}


class Knowledge(Observer):
    """What the routes know of the upstreams, as of the monitors' last look. Both records are replaced as a whole."""

    def __init__(self, speakers: Speakers, capacity: Capacity, max_items: int, model: str = "") -> None:
        """``max_items``: of one request. ``model``: the one that each call asks for by the settings, if any."""
        self._speakers = speakers
        self._capacity = capacity
        self._max_items = max_items
        self._model = model
        self._refresh()

    def on_look(self, upstream: str) -> None:  # noqa: ARG002
        """Take up what a look has shown."""
        self._refresh()

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:  # noqa: ARG002
        """An upstream that has come up may have told something new."""
        self._refresh()

    def get_about(self) -> About:
        """Return what clients are told."""
        return self._about

    def get_bounds(self) -> Bounds:
        """Return what one request may ask for."""
        return self._bounds

    def _refresh(self) -> None:
        api, info = self._speakers.known
        if info is not None and self._model and self._model in _models(info):
            info = info._replace(model_id=self._model, models=(self._model,))
        self._about = about(api, info, self._max_items)
        self._bounds = bounds(info, self._max_items, self._capacity.full_batch_size)


def about(api: str, info: UpstreamInfo | None, max_items: int) -> About:
    """Return what is told to clients of upstreams that speak ``api``."""
    if info is None:
        return About(api, max_items=max_items)
    return About(api, _only_model(info), _models(info), info.raw, max_items)


def bounds(info: UpstreamInfo | None, max_items: int, upstream_items: int) -> Bounds:
    """Return what one request may ask for. ``upstream_items``: of one upstream call."""
    if info is None:
        return Bounds(max_items, upstream_items=upstream_items)
    return Bounds(max_items, _TASKS.get(info.purpose or "", Task.EMBED), _only_model(info), upstream_items)


def _models(info: UpstreamInfo) -> tuple[str, ...]:
    return info.models or ((info.model_id,) if info.model_id else ())


def _only_model(info: UpstreamInfo) -> str | None:
    """Return the name under which the one model is served; None where there are several, or none is told."""
    names = _models(info)
    return names[0] if len(names) == 1 else None
