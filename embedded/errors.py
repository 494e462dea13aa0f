"""The errors of the embedded server, in TEI's words, each with its HTTP status and its TEI type."""

from typing import ClassVar


class EmbedError(Exception):
    """A request the server cannot answer; `str()` of it is the text the client reads."""

    status: ClassVar[int]
    error_type: ClassVar[str]


class MalformedRequestError(EmbedError):
    """The body is not JSON."""

    status = 400
    error_type = "Validation"


class MediaTypeError(EmbedError):
    """The request's Content-Type is not JSON."""

    status = 415
    error_type = "Validation"


class InvalidRequestError(EmbedError):
    """The body is JSON, but asks for something this model cannot do."""

    status = 422
    error_type = "Validation"


class TokenizerError(EmbedError):
    """The input cannot be turned into tokens."""

    status = 422
    error_type = "Tokenizer"


class EmptyInputError(EmbedError):
    """A list that must hold something is empty, or one of its inputs is."""

    status = 400
    error_type = "Empty"

    def __init__(self, message: str = "Input validation error: `inputs` cannot be empty") -> None:
        super().__init__(message)


class BackendError(EmbedError):
    """The request needs a model of another kind than the one that is served."""

    status = 424
    error_type = "Backend"


class OverloadedError(EmbedError):
    """Too few permits are free for the request's inputs; the client may try again."""

    status = 429
    error_type = "Overloaded"

    def __init__(self) -> None:
        super().__init__("Model is overloaded")
