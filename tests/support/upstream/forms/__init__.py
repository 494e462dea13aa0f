"""What nine kinds of servers answer, ok and not, as it was recorded: how a call is read, and the bodies of replies."""

from tests.support.upstream.forms.form import Form, Reply, Trouble, proper_reply, vector_for
from tests.support.upstream.forms.kserve import KserveForm, MlserverForm, TritonForm
from tests.support.upstream.forms.openai import InfinityForm, LitellmForm, LlamaForm, VllmForm
from tests.support.upstream.forms.plain import PlainForm
from tests.support.upstream.forms.tei import TeiForm, TeiOpenAiForm

#: One of each kind; TEI's two routes are two forms.
ALL: tuple[Form, ...] = (
    *(TeiForm(), TeiOpenAiForm(), PlainForm(), InfinityForm(), VllmForm(), LlamaForm(), LitellmForm()),
    *(KserveForm(), MlserverForm(), TritonForm()),
)

__all__ = [
    "ALL",
    "Form",
    "InfinityForm",
    "KserveForm",
    "LitellmForm",
    "LlamaForm",
    "MlserverForm",
    "PlainForm",
    "Reply",
    "TeiForm",
    "TeiOpenAiForm",
    "TritonForm",
    "Trouble",
    "VllmForm",
    "proper_reply",
    "vector_for",
]
