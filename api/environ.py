"""The names under which the worker and the views tell each other things in the WSGI environment. Knows no Flask."""

from __future__ import annotations

#: A function that tells whether the client has closed its connection; absent where the system cannot tell.
IS_GONE = "autobatch.is_gone"
#: The monotonic moment at which the application first looked at the request.
STARTED = "autobatch.started"
#: The client whose key a request carries; absent where its key has no name of its own.
CLIENT = "autobatch.client"
#: What the request asked the engine for; there where each request is logged.
CALL = "autobatch.call"
#: The request's identity.
REQUEST_ID = "autobatch.request_id"
