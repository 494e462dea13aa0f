"""Real client libraries, unmodified, against the service over the embedded model."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients import installed
from tests.clients.installed import CURL, PYTHON_CLIENTS, Client, MissingError, curl_command, python_command
from tests.clients.judging import problems
from tests.support.service import GUNICORN, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
KEY = "key-of-this-service"


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("clients"), command=GUNICORN) as running:
        yield running


@pytest.fixture(scope="module")
def reference(service: Service) -> Callable[[Any, Any], list[float]]:
    """What ``POST /embed`` answers for one input, asked for alone and once."""
    known: dict[str, list[float]] = {}

    def asked(item, options) -> list[float]:
        name = json.dumps([item, options])
        if name not in known:
            answer = service.embed([item], **options)
            assert answer.status == 200, answer.body
            known[name] = answer.json[0]
        return known[name]

    return asked


class Drivers:
    """Runs each client's driver once: the first alone, so that no other call shares its batches, then two at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ThreadPoolExecutor(2)
        self._runs: dict[str, Future[list[dict[str, Any]]]] = {}

    def __call__(self, name: str) -> list[dict[str, Any]]:
        """Return what a client's driver told."""
        self._start(name)
        told = self._runs[name].result()
        for client in PYTHON_CLIENTS:
            self._start(client.name)
        return told

    def _start(self, name: str) -> None:
        if name not in self._runs:
            self._runs[name] = self._pool.submit(self._run, name)

    def _run(self, name: str) -> list[dict[str, Any]]:
        clients = {client.name: client for client in PYTHON_CLIENTS}
        command = curl_command() if name == "curl" else python_command(clients[name])
        return installed.run(command, self._url, MODEL)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def drivers(service: Service) -> Iterator[Drivers]:
    made = Drivers(f"http://127.0.0.1:{service.port}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def told_by(drivers: Drivers) -> Callable[[str], list[dict[str, Any]]]:
    """What a client's driver told, by the client's name; the test is left out where the client is not installed."""

    def told(name: str) -> list[dict[str, Any]]:
        try:
            return drivers(name)
        except MissingError as missing:
            pytest.skip(str(missing))

    return told


@pytest.fixture(scope="module")
def over_openai(service: Service, tmp_path_factory) -> Iterator[Service]:
    """Another proxy in front of the same embedded model, which it asks in OpenAI's way; its clients need a key."""
    found = eventually(lambda: re.search(r"embedded: ready on (http://\S+)", service.log))
    settings: dict[str, Any] = {"inference_url": f"{found[1]}/v1", "upstream_api": "openai", "upstream_model": MODEL}
    with Service(tmp_path_factory.mktemp("openai"), command=GUNICORN, secrets={"API_KEY": KEY}, **settings) as running:
        yield running


def case(told: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(each for each in told if each["case"] == name)


@pytest.mark.parametrize("name", [*(client.name for client in PYTHON_CLIENTS), "curl"])
def test_a_client_gets_the_vectors_that_embed_answers(told_by, reference, name: str) -> None:
    assert problems(told_by(name), reference) == []


@pytest.mark.parametrize("client", [PYTHON_CLIENTS[0], CURL], ids=lambda client: client.name)
def test_a_client_with_a_key_gets_the_same_over_openais_dialect(over_openai, reference, client: Client) -> None:
    try:
        command = curl_command() if client is CURL else python_command(client)
    except MissingError as missing:
        pytest.skip(str(missing))

    told = installed.run(command, f"http://127.0.0.1:{over_openai.port}", MODEL, KEY)

    assert problems(told, reference) == []


def test_openais_sdk_finds_all_that_it_needs_in_an_answer(told_by) -> None:
    numbering = case(told_by("openai"), "numbering")["value"]

    assert numbering["object"] == "list"
    assert numbering["model"]
    assert numbering["index"] == [0, 1, 2, 3]
    assert numbering["usage"][0] == numbering["usage"][1] > 4
    assert numbering["type"] == "application/json"


def test_usages_of_calls_that_share_batches_add_up_to_what_they_used(told_by) -> None:
    shares, together = case(told_by("openai"), "usages")["value"]

    assert min(shares) > 0
    assert sum(shares) == together


def test_openais_sdk_finds_the_model(told_by) -> None:
    told = told_by("openai")

    assert case(told, "models")["value"] == [MODEL]
    assert case(told, "model")["value"] == MODEL


@pytest.mark.parametrize(
    ("name", "wrong", "raised"),
    [
        ("openai", "empty text", "BadRequestError"),
        ("openai", "no text", "BadRequestError"),
        ("openai", "wrong type", "BadRequestError"),
        ("openai", "unknown route", "NotFoundError"),
        ("huggingface_hub", "empty text", "BadRequestError"),
        ("ollama", "empty text", "ResponseError"),
        ("cohere", "empty text", "BadRequestError"),
    ],
)
def test_a_wrong_call_raises_what_the_clients_users_know(told_by, name: str, wrong: str, raised: str) -> None:
    told = case(told_by(name), wrong)

    assert told["class"] == raised
    assert len(told["refusal"]) > 20
    if wrong == "empty text":
        assert "empty" in told["refusal"]


def test_hugging_faces_similarity_is_answered_at_the_base_url(told_by) -> None:
    told = told_by("huggingface_hub")
    first, *others = case(told, "similarity")["value"]

    assert first == pytest.approx(1.0, abs=1e-6)
    assert all(-1.0 < number < 0.9 for number in others)
    assert case(told, "similarity by its URL")["value"] == [pytest.approx(1.0, abs=1e-6)]
