"""The identity under which a request appears in its response, its errors and the log."""

from __future__ import annotations

import itertools
import os
import re
from typing import Any

from api.environ import REQUEST_ID

_ACCEPTABLE = re.compile(r"[\w-]{1,64}", re.ASCII).fullmatch

#: Random per process, counted within: unique without asking the system for randomness each time.
_counter = itertools.count(1)
_prefix = os.urandom(6).hex()
os.register_at_fork(after_in_child=lambda: globals().update(_prefix=os.urandom(6).hex()))


def new_request_id() -> str:
    """Return an identity that no other request of any process has."""
    return f"{_prefix}-{next(_counter):x}"


def request_id(environ: dict[str, Any]) -> str:
    """Return the request's identity: the client's ``X-Request-Id`` if it is harmless, else a new one."""
    identity: str | None = environ.get(REQUEST_ID)
    if identity is None:
        asked = environ.get("HTTP_X_REQUEST_ID")
        identity = asked if asked is not None and _ACCEPTABLE(asked) else new_request_id()
        environ[REQUEST_ID] = identity
    return identity
