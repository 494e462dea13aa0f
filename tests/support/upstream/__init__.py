"""One scripted upstream for all tests: its form says what it answers, its faults say how it fails."""

from tests.support.upstream.exchange import KEEP, Exchange, Fault, Request
from tests.support.upstream.forms import Form, Reply, TeiForm, proper_reply, vector_for
from tests.support.upstream.server import Call, ScriptedUpstream, closed_port

__all__ = [
    "KEEP",
    "Call",
    "Exchange",
    "Fault",
    "Form",
    "Reply",
    "Request",
    "ScriptedUpstream",
    "TeiForm",
    "closed_port",
    "proper_reply",
    "vector_for",
]
