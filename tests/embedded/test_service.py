"""Permits, the one inference at a time, and the cosines, over fake models."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embedded.errors import OverloadedError
from embedded.server import create_app
from embedded.service import MAX_CLIENT_BATCH_SIZE, MAX_CONCURRENT_REQUESTS, Permits, cosines
from tests.embedded.fakes import TIMEOUT, GatedModel, error_of


def test_requests_at_the_same_time_never_share_an_inference() -> None:
    model = GatedModel()
    app = create_app(model)

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(app.test_client().post, "/embed", json={"inputs": "a"}) for _ in range(3)]
        model.await_arrivals(3)
        model.gate.set()
        statuses = [call.result(TIMEOUT).status_code for call in calls]

    assert statuses == [200, 200, 200]
    assert model.most_inside == 1
    assert [count for count, _, _ in model.embedded] == [1, 1, 1]


def test_inputs_beyond_the_permits_are_refused_at_once_and_the_rest_answered() -> None:
    model = GatedModel()
    app = create_app(model)
    batches = MAX_CONCURRENT_REQUESTS // MAX_CLIENT_BATCH_SIZE

    with ThreadPoolExecutor(batches) as pool:
        full = {"inputs": ["a"] * MAX_CLIENT_BATCH_SIZE}
        calls = [pool.submit(app.test_client().post, "/embed", json=full) for _ in range(batches)]
        model.await_arrivals(MAX_CONCURRENT_REQUESTS)

        refused = app.test_client().post("/embed", json={"inputs": "one more"})

        model.gate.set()
        statuses = {call.result(TIMEOUT).status_code for call in calls}

    assert error_of(refused) == (429, "Overloaded", "Model is overloaded")
    assert statuses == {200}
    assert app.test_client().post("/embed", json={"inputs": "a"}).status_code == 200


def test_permits_come_back_when_a_call_fails() -> None:
    permits = Permits(2)

    with pytest.raises(ZeroDivisionError), permits.hold(2):
        raise ZeroDivisionError

    with permits.hold(2), pytest.raises(OverloadedError), permits.hold(1):
        pass


def test_cosines_are_those_to_the_first_vector_whatever_the_lengths() -> None:
    vectors = np.array([[3.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]], np.float32)

    assert cosines(vectors).tolist() == [1.0, 0.0, -1.0, np.float32(0.5**0.5)]
