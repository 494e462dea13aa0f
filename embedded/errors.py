"""What the embedded server refuses, in TEI's words: each error knows its HTTP status and its TEI type."""

from typing import ClassVar


class EmbedError(Exception):
    """A request the server cannot answer; `str()` of it is the text the client reads."""

    status: ClassVar[int]
    error_type: ClassVar[str]


class MalformedRequestError(EmbedError):
    """The body is not JSON at all."""

    status = 400
    error_type = "Validation"


class MediaTypeError(EmbedError):
    """The body does not claim to be JSON."""

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
    """There is nothing to embed."""

    status = 400
    error_type = "Empty"

    def __init__(self) -> None:
        super().__init__("Input validation error: `inputs` cannot be empty")


class OverloadedError(EmbedError):
    """Every permit is taken; try again."""

    status = 429
    error_type = "Overloaded"

    def __init__(self) -> None:
        super().__init__("Model is overloaded")
