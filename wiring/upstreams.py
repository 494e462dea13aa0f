"""Makes the endpoints that the settings name, each with the dialect that is set or with a search for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from upstream.detection import Detector, as_set
from upstream.endpoint import Endpoint
from upstream.kinds import dialect_of, sentence
from upstream.spoken import Finding
from wiring.asking import wanted_of

if TYPE_CHECKING:
    from batching import Clock, Observer
    from config import Settings
    from upstream.detection import Wanted
    from upstream.identity import Identities
    from upstream.spoken import Get, Post


def endpoints(settings: Settings, clock: Clock, observer: Observer, identities: Identities) -> list[Endpoint]:
    """Return an endpoint for each ``inference_url``; raises ``ValueError`` where there is none."""
    if not settings.inference_url:
        raise ValueError("an inference_url is needed here")
    identities.expect(settings.inference_url)
    wanted = wanted_of(settings)
    found = as_set(wanted)
    return [
        Endpoint(
            url,
            None if found is None else dialect_of(found, url, wanted),
            clock,
            # Each has connections for all batches and as many passed-through requests, should it be the only one left,
            # and for its monitor.
            connections=2 * settings.max_inflight_batches * len(settings.inference_url) + 1,
            timeout=settings.upstream_timeout,
            api_key=settings.inference_api_key,
            observer=observer,
            identities=identities,
            idle=settings.upstream_idle,
            ca_file=settings.upstream_ca_file or None,
            detect=None if found is not None else partial(find, url, wanted),
        )
        for url in settings.inference_url
    ]


def find(url: str, wanted: Wanted, get: Get, post: Post, may_call: bool) -> Finding:
    """Ask a server which API it speaks; see ``upstream.spoken.Detect``."""
    detector = Detector(get, post, wanted, url=url)
    found = detector.find(may_call=may_call)
    if found is None:
        return Finding(None, detector.reason, is_settled=detector.is_settled)
    dialect = dialect_of(found, url, wanted)
    told = sentence(found, dialect)
    return (
        Finding(None, told, is_unusable=True, is_settled=True)
        if found.problem
        else Finding(dialect, told, found.is_guess)
    )
