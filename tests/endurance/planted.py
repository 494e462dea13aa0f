"""The service with a planted mistake: each item of a batch gets the vector of the one before."""

from __future__ import annotations

import sys

import app
from formats import slices

_split = slices.split_vectors


def _rotated(body: bytes, count: int) -> tuple[list[bytes], int]:
    vectors, dimension = _split(body, count)
    return [vectors[-1], *vectors[:-1]], dimension


# Modules that imported the function before have a name of their own for it; those imported later find the planted one.
for _module in [slices, *(module for name, module in sys.modules.items() if name.startswith("upstream."))]:
    if getattr(_module, "split_vectors", None) is _split:
        vars(_module)["split_vectors"] = _rotated

create_app = app.create_app
