"""Finds the settings among the environment's variables: plain names, and the same names behind a prefix of our own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from config.settings import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.declare import Declaration
    from config.errors import Problem

#: A variable with this prefix beats the plain one: other programs may have a `THREADS` or `HOST` of their own.
PREFIX = "AUTOBATCH_"

#: Names the variables by which `app.py` hands its flags on to gunicorn, so that messages still call them flags.
FLAGS_ENV = f"{PREFIX}FLAGS"

#: What Kubernetes sets for a Service named "autobatch": `AUTOBATCH_PORT=tcp://10.0.0.1:3000`.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")

_BY_NAME = {each.name: each for each in DECLARATIONS}


class Given(NamedTuple):
    """A value that is not a default, and the source that gave it."""

    value: object
    source: str


def prefixed(declaration: Declaration) -> str:
    """Return the variable of a setting that no other program has."""
    return PREFIX + declaration.env


def flag_source(name: str) -> str:
    """Return what messages call the flag of setting `name`."""
    return f"flag {_BY_NAME[name].flag}"


def from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the settings that `environ` gives, by name; a prefixed variable beats a plain one."""
    handed_on = environ.get(FLAGS_ENV, "").split(",")
    given = {}
    for each in DECLARATIONS:
        variable = next(_variables(each, environ), None)
        if variable is not None:
            source = flag_source(each.name) if each.name in handed_on else f"environment {variable}"
            given[each.name] = Given(each.parse(environ[variable]), source)
    return given


def hint(problems: Iterable[Problem], given: Mapping[str, Given]) -> str:
    """Return how to get rid of a variable that was meant for another program, where one is part of a problem."""
    refused = {key for problem in problems for key in problem.keys}
    stray = [
        each
        for each in DECLARATIONS
        if each.name in refused and each.name in given and given[each.name].source == f"environment {each.env}"
    ]
    if not stray:
        return ""
    names = ", ".join(each.env for each in stray)
    return (
        f"{names}: if it is meant for another program, unset it for this one, or set {prefixed(stray[0])}, which wins"
    )


def _variables(declaration: Declaration, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the variables that give the setting, the one that counts first."""
    name = prefixed(declaration)
    if name in environ and not (declaration.name == "port" and _SERVICE_LINK.match(environ[name])):
        yield name
    if declaration.env in environ:
        yield declaration.env
