"""A histogram that takes many values at once counts as one that takes them one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from instrumentation.bulk_histogram import BulkHistogram

BOUNDS = (0.5, 1.0, 2.5)


def samples(histogram: Histogram) -> list[tuple[str, dict[str, str], float]]:
    (family,) = histogram.collect()
    return [(each.name, each.labels, each.value) for each in family.samples if not each.name.endswith("_created")]


@pytest.mark.parametrize(
    "amounts", [[], [0.0], [0.5], [0.5000001], [1.0, 1.0], [2.5], [2.6], [-1.0], [0.1, 0.7, 3.0, 0.7]], ids=str
)
def test_each_value_is_counted_in_the_bucket_that_its_base_class_takes(amounts: list[float]) -> None:
    bulk = BulkHistogram("h", "h", buckets=BOUNDS, registry=CollectorRegistry())
    one_by_one = Histogram("h", "h", buckets=BOUNDS, registry=CollectorRegistry())
    bulk.observe_all(amounts)
    for amount in amounts:
        one_by_one.observe(amount)
    assert samples(bulk) == samples(one_by_one)


@given(batches=st.lists(st.lists(st.integers(0, 12).map(lambda quarter: quarter / 4), max_size=40), max_size=5))
def test_several_batches_add_up(batches: list[list[float]]) -> None:
    bulk = BulkHistogram("h", "h", buckets=BOUNDS, registry=CollectorRegistry())
    one_by_one = Histogram("h", "h", buckets=BOUNDS, registry=CollectorRegistry())
    for amounts in batches:
        bulk.observe_all(amounts)
        for amount in amounts:
            one_by_one.observe(amount)
    assert samples(bulk) == samples(one_by_one)
