"""One scripted upstream for all tests: its form says what it answers, its faults how it fails, a poison on what."""

from tests.support.upstream.exchange import KEEP, Exchange, Fault, Request
from tests.support.upstream.forms import Form, Reply, TeiForm, Trouble, proper_reply, vector_for
from tests.support.upstream.poison import Poison
from tests.support.upstream.server import Call, ScriptedUpstream, closed_port

__all__ = [
    "KEEP",
    "Call",
    "Exchange",
    "Fault",
    "Form",
    "Poison",
    "Reply",
    "Request",
    "ScriptedUpstream",
    "TeiForm",
    "Trouble",
    "closed_port",
    "proper_reply",
    "vector_for",
]
