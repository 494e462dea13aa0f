"""TEI's HTTP contract as the embedded server keeps it, over a fake model."""

import io
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from werkzeug.test import TestResponse

from embedded.errors import EmptyInputError, OverloadedError
from embedded.progress import Progress
from embedded.server import MAX_CLIENT_BATCH_SIZE, MAX_CONCURRENT_REQUESTS, PAYLOAD_LIMIT, Permits, create_app, to_json

TIMEOUT = 10.0  # seconds until a test that waits gives up


class FakeModel:
    """A text of n characters has n tokens and the vector [n, 0.1]. It remembers how it was asked."""

    model_id = "fake"
    dimensions = 2
    max_input_length = 256

    def __init__(self) -> None:
        self.encoded: list[tuple[str | list[int], bool, str]] = []
        self.embedded: list[tuple[int, bool, int | None]] = []

    def encode(self, text_or_ids: str | list[int], *, truncate: bool, direction: str) -> list[int]:
        self.encoded.append((text_or_ids, truncate, direction))
        if not text_or_ids:
            raise EmptyInputError
        return [0] * len(text_or_ids)

    def embed(
        self, encoded: Sequence[Sequence[int]], *, normalize: bool, dimensions: int | None
    ) -> NDArray[np.float32]:
        self.embedded.append((len(encoded), normalize, dimensions))
        return np.array([[len(ids), 0.1] for ids in encoded], np.float32)


class GatedModel(FakeModel):
    """Its inference blocks until the gate opens. It counts the inputs encoded and the inferences that run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0

    def encode(self, text_or_ids: str | list[int], *, truncate: bool, direction: str) -> list[int]:
        self.arrived.release()
        return super().encode(text_or_ids, truncate=truncate, direction=direction)

    def embed(
        self, encoded: Sequence[Sequence[int]], *, normalize: bool, dimensions: int | None
    ) -> NDArray[np.float32]:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        assert self.gate.wait(TIMEOUT)
        self.inside -= 1
        return super().embed(encoded, normalize=normalize, dimensions=dimensions)

    def await_arrivals(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=TIMEOUT)


class BrokenModel(FakeModel):
    def embed(self, *_: Any, **__: Any) -> NDArray[np.float32]:
        raise RuntimeError("another client's secret text")


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def client(model: FakeModel) -> FlaskClient:
    return create_app(model).test_client()


def error_of(response: TestResponse) -> tuple[int, str, str]:
    assert response.mimetype == "application/json"
    body = json.loads(response.data)
    assert set(body) == {"error", "error_type"}
    return response.status_code, body["error_type"], body["error"]


# Answers


def test_one_text_is_answered_by_an_array_of_one_vector(client: FlaskClient) -> None:
    response = client.post("/embed", json={"inputs": "abc"})

    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.data == b"[[3.0,0.1]]"


def test_several_texts_are_answered_in_order(client: FlaskClient) -> None:
    assert client.post("/embed", json={"inputs": ["a", "abc", "ab"]}).json == [[1, 0.1], [3, 0.1], [2, 0.1]]


@pytest.mark.parametrize(
    ("inputs", "items"),
    [
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [7]], ["a", [7]]),
        ([0, 2**32 - 1], [[0, 2**32 - 1]]),
    ],
)
def test_token_ids_are_one_input_each(
    client: FlaskClient, model: FakeModel, inputs: list[Any], items: list[Any]
) -> None:
    assert client.post("/embed", json={"inputs": inputs}).status_code == 200
    assert [item for item, _, _ in model.encoded] == items


def test_defaults_are_those_of_tei(client: FlaskClient, model: FakeModel) -> None:
    client.post("/embed", json={"inputs": "a"})

    assert model.encoded == [("a", True, "right")]
    assert model.embedded == [(1, True, None)]


def test_options_reach_the_model_and_unknown_fields_are_ignored(client: FlaskClient, model: FakeModel) -> None:
    body = {
        "inputs": "a",
        "truncate": False,
        "truncation_direction": "Left",
        "normalize": False,
        "dimensions": 1,
        "colour": "blue",
    }

    assert client.post("/embed", json=body).status_code == 200
    assert model.encoded == [("a", False, "left")]
    assert model.embedded == [(1, False, 1)]


def test_floats_are_written_with_the_shortest_digits_of_float32() -> None:
    values = np.random.default_rng(0).normal(size=(4, 384)).astype(np.float32)

    text = to_json(values)

    assert np.array_equal(np.array(json.loads(text), np.float32), values)
    digits = [number for row in text.decode()[2:-2].split("],[") for number in row.split(",")]
    assert [float(number) for number in digits] == [float(str(value)) for value in values.ravel()]
    assert to_json(np.array([[0.1]], np.float32)) == b"[[0.1]]"


def test_headers_count_the_work_and_time_it(client: FlaskClient) -> None:
    headers = client.post("/embed", json={"inputs": ["ab", [1, 2, 3]]}).headers

    assert (headers["x-compute-characters"], headers["x-compute-tokens"]) == ("5", "5")
    for name in ("compute-time", "total-time", "tokenization-time", "queue-time", "inference-time"):
        assert headers[f"x-{name}"].isdigit()


def test_info_states_the_limits_the_proxy_clamps_to(client: FlaskClient) -> None:
    info = client.get("/info").json

    assert info is not None
    assert info["model_id"] == "fake"
    assert info["max_client_batch_size"] == MAX_CLIENT_BATCH_SIZE == 32
    assert info["max_concurrent_requests"] == MAX_CONCURRENT_REQUESTS == 512
    assert info["max_input_length"] == 256
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["auto_truncate"] is True


@pytest.mark.parametrize("path", ["/health", "/ping", "/"])
def test_health_is_an_empty_200(client: FlaskClient, path: str) -> None:
    response = client.get(path)

    assert (response.status_code, response.data) == (200, b"")


# Refusals


@pytest.mark.parametrize("inputs", ["", [], [""], [[]], ["a", ""]])
def test_empty_inputs_are_refused_as_empty(client: FlaskClient, inputs: Any) -> None:
    assert error_of(client.post("/embed", json={"inputs": inputs})) == (
        400,
        "Empty",
        "Input validation error: `inputs` cannot be empty",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"inputs": 1}, "inputs"),
        ({"inputs": {"text": "a"}}, "inputs"),
        ({"inputs": [1, "a"]}, "inputs"),
        ({"inputs": [True]}, "inputs"),
        ({"inputs": [-1]}, "inputs"),
        ({"inputs": [2**32]}, "inputs"),
        ({"inputs": "a", "truncate": "yes"}, "truncate"),
        ({"inputs": "a", "normalize": 1}, "normalize"),
        ({"inputs": "a", "truncation_direction": "up"}, "truncation_direction"),
        ({"inputs": "a", "dimensions": "64"}, "dimensions"),
        ({"inputs": "a", "dimensions": 1.5}, "dimensions"),
        ({"inputs": "a", "prompt_name": 3}, "prompt_name"),
    ],
)
def test_a_body_of_the_wrong_shape_names_the_field(client: FlaskClient, body: Any, field: str) -> None:
    status, error_type, message = error_of(client.post("/embed", json=body))

    assert (status, error_type) == (422, "Validation")
    assert f"target type: {field}: " in message


def test_a_body_that_is_no_object_is_refused(client: FlaskClient) -> None:
    assert error_of(client.post("/embed", json=["a"]))[:2] == (422, "Validation")


def test_malformed_json_is_a_400(client: FlaskClient) -> None:
    response = client.post("/embed", data=b'{"inputs": ', content_type="application/json")

    assert error_of(response)[:2] == (400, "Validation")


def test_a_body_that_does_not_claim_to_be_json_is_a_415(client: FlaskClient) -> None:
    assert error_of(client.post("/embed", data=b'{"inputs": "a"}'))[:2] == (415, "Validation")


def test_a_batch_over_the_limit_is_refused_in_teis_words(client: FlaskClient) -> None:
    assert error_of(client.post("/embed", json={"inputs": ["a"] * 33})) == (
        422,
        "Validation",
        "batch size 33 > maximum allowed batch size 32",
    )


def test_a_prompt_name_is_refused_because_the_model_has_no_prompts(client: FlaskClient) -> None:
    status, error_type, message = error_of(client.post("/embed", json={"inputs": "a", "prompt_name": "query"}))

    assert (status, error_type) == (422, "Validation")
    assert "`query` but no prompts were found" in message


def test_a_body_over_the_payload_limit_is_a_413(client: FlaskClient) -> None:
    body = json.dumps({"inputs": "a" * PAYLOAD_LIMIT})

    assert error_of(client.post("/embed", data=body, content_type="application/json"))[0] == 413


def test_unknown_paths_and_wrong_methods_are_answered_in_json(client: FlaskClient) -> None:
    assert error_of(client.get("/nowhere"))[0] == 404
    wrong_method = client.get("/embed")
    assert error_of(wrong_method)[0] == 405
    assert "POST" in wrong_method.headers["Allow"]


def test_a_crash_of_the_model_tells_the_client_nothing_of_its_cause() -> None:
    status, error_type, message = error_of(create_app(BrokenModel()).test_client().post("/embed", json={"inputs": "a"}))

    assert (status, error_type) == (424, "Backend")
    assert "secret" not in message


# Concurrency


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


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_redrawn_line_on_a_terminal() -> None:
    terminal = Terminal()
    progress = Progress(terminal, total=2)

    with progress.step("opening session"):
        assert terminal.getvalue().endswith("[....................] opening session")

    assert "[##########..........] opening session, 0.0" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()


def test_progress_is_one_plain_line_a_step_in_a_log() -> None:
    log = io.StringIO()
    progress = Progress(log, total=1)

    with progress.step("opening session"):
        pass
    progress.finish("ready")

    first, second = log.getvalue().splitlines()
    assert first.startswith("embedded: [1/1] opening session: 0.0")
    assert second.startswith("embedded: ready after 0.0")
