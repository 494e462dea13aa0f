"""What a client is told when the server refuses its request before the application sees it: status and text."""

from __future__ import annotations

from gunicorn.http import errors

from api.body import BrokenBodyError

#: The status for each class of exception. The nearest class decides; classes that are not here mean 500.
#: It is what gunicorn's ``handle_error`` answers, which ``tests/serving/test_refusals.py`` compares with it.
STATUSES: dict[type[BaseException], int] = {
    errors.InvalidRequestLine: 400,
    errors.InvalidRequestMethod: 400,
    errors.InvalidHTTPVersion: 400,
    errors.InvalidHeader: 400,
    errors.InvalidHeaderName: 400,
    errors.ObsoleteFolding: 400,
    errors.InvalidSchemeHeaders: 400,
    errors.InvalidProxyLine: 400,
    errors.InvalidH2CPreface: 400,
    errors.InvalidChunkSize: 400,
    errors.InvalidChunkExtension: 400,
    errors.ChunkMissingTerminator: 400,
    errors.ForbiddenProxyRequest: 403,
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.ConfigurationProblem: 500,
    # These are headers that the application tried to send: subclasses of a client's errors, but not its fault.
    errors.InvalidResponseHeader: 500,
    errors.InvalidResponseHeaderName: 500,
    errors.UnsupportedTransferCoding: 501,
    # gunicorn's errors of chunks, as the application sees them.
    BrokenBodyError: 400,
}

#: Characters of an exception's text that a client is shown.
MOST_TEXT = 200


def status_of(problem: BaseException) -> int:
    """Return the HTTP status for an exception that ended a request."""
    return next((STATUSES[each] for each in type(problem).__mro__ if each in STATUSES), 500)


def text_of(problem: BaseException, status: int) -> str:
    """Return what the client is told: the exception's own words, unless the fault is the server's."""
    if status >= 500:
        return "the request could not be processed"
    return str(problem)[:MOST_TEXT] or "the request is malformed"
