"""What ``api.app`` overrides or reads of Flask by name is there: were it renamed, the override would be dead code."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from flask import Flask, Request, Response, request_finished, request_tearing_down
from flask.globals import request_ctx
from flask.sessions import SessionInterface
from marshmallow import fields
from werkzeug.routing import MapAdapter

from api.app import App
from api.finished import FinishedResponse

if TYPE_CHECKING:
    from blinker import NamedSignal


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (
            Flask,
            [
                "create_url_adapter",
                "dispatch_request",
                "do_teardown_request",
                "ensure_sync",
                "finalize_request",
                "preprocess_request",
                "process_response",
                "request_class",
                "session_interface",
            ],
        ),
        (SessionInterface, ["is_null_session", "open_session", "save_session"]),
        (MapAdapter, ["match"]),
        (Request, ["__init__", "routing_exception", "url_rule", "view_args"]),
        (fields.Field, ["_validate"]),
        (Response, ["__call__", "__init__"]),
    ],
)
def test_a_method_that_is_overridden_exists(base: type, names: list[str]) -> None:
    assert [name for name in names if not hasattr(base, name)] == []


@pytest.mark.parametrize("name", ["before_request_funcs", "teardown_request_funcs", "after_request_funcs", "url_map"])
def test_an_attribute_of_the_app_that_is_read_exists(name: str) -> None:
    assert hasattr(App("app", static_folder=None), name)


def test_the_context_has_the_functions_that_a_request_asked_for() -> None:
    app = App("app", static_folder=None)
    with app.test_request_context("/"):
        assert request_ctx._after_request_functions == []


def test_the_signatures_that_are_overridden_have_not_grown() -> None:
    for name in ("create_url_adapter", "dispatch_request", "ensure_sync", "finalize_request", "process_response"):
        assert list(inspect.signature(getattr(App, name)).parameters) == list(
            inspect.signature(getattr(Flask, name)).parameters
        )


@pytest.mark.parametrize("signal", [request_finished, request_tearing_down], ids=lambda each: each.name)
def test_a_signal_reaches_who_listens_to_it(signal: NamedSignal) -> None:
    app, heard = App("app", static_folder=None), []
    app.add_url_rule("/", view_func=lambda: FinishedResponse(b"{}", []))
    with signal.connected_to(lambda sender, **_: heard.append(sender)):
        assert app.test_client().get("/").get_data() == b"{}"
    assert heard == [app]


def test_a_finished_response_has_what_flask_reads_of_a_response() -> None:
    response = FinishedResponse(b"{}", [("Content-Type", "application/json")])
    assert isinstance(response, Response)
    assert (response.status_code, response.status, response.headers["Content-Length"]) == (200, "200 OK", "2")
