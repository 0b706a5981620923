"""What runs, explanations and comparisons take, in each form that it may have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from graphloss.errors import ArgumentTypeError, FeedError, UnknownVariable, nearest_name_hint
from graphloss.ir.program import Program
from graphloss.ir.sequences import owner
from graphloss.ir.variable import Variable
from graphloss.runtime.scope import Scope


def check_program(program: object, what: str, expected: str = "Program") -> None:
    """ArgumentTypeError unless `program` is one."""
    if not isinstance(program, Program):
        raise ArgumentTypeError(f"{what} takes a Program", expected=expected, got=type(program).__name__)


def fetches_of(fetch_list: object) -> Sequence[Variable | str]:
    if fetch_list is None:
        return ()
    if isinstance(fetch_list, (Variable, str)):
        return (fetch_list,)
    if isinstance(fetch_list, (list, tuple)):
        for f in fetch_list:
            if not isinstance(f, (Variable, str)):
                raise ArgumentTypeError(
                    "a fetch is a Variable or its name", expected="Variable or str", got=type(f).__name__
                )
        return fetch_list
    raise ArgumentTypeError(
        "fetch_list is a list of Variables or names", expected="list", got=type(fetch_list).__name__
    )


def feeds_of(feed: object) -> Mapping[str, object]:
    if feed is None:
        return {}
    if isinstance(feed, Mapping):
        return feed
    if isinstance(feed, (list, tuple)) and len(feed) == 1 and isinstance(feed[0], Mapping):
        return feed[0]
    raise ArgumentTypeError("feed is a dict from variable names to arrays", expected="dict", got=type(feed).__name__)


def missing(program: Program, feeds: Mapping[str, object], needed: Sequence[str]) -> FeedError:
    _check_names(feeds)
    name = next(n for n in needed if n not in feeds)
    known = program.global_block().vars
    unknown = [n for n in feeds if n not in known]
    rows = owner(program, name)
    if rows is not None and rows in feeds:
        return FeedError(
            f"{rows!r} is fed as a plain array, and the run needs its sequences",
            expected="a LoDTensor",
            got=type(feeds[rows]).__name__,
            op=known[rows],
            where=known[rows].location,
            hint="create_lod_tensor(array, [lengths], place) makes one",
        )
    hint = f"{unknown[0]!r} was fed, which the program does not have" if unknown else "add it to the feed of run()"
    return FeedError(
        f"{name!r} is not fed, and the run needs it",
        expected=f"feeds of {_listed(needed)}",
        got=_listed(feeds),
        op=known[name],
        where=known[name].location,
        hint=hint,
    )


def _check_names(feeds: Mapping[str, object]) -> None:
    for name in feeds:
        if not isinstance(name, str):  # a Variable, say: comparing that with a name would append an op
            hint = f"use its name, {name.name!r}" if isinstance(name, Variable) else None
            raise ArgumentTypeError("a feed is found by its name", expected="str", got=type(name).__name__, hint=hint)


def _listed(names: Iterable[object]) -> str:
    shown = [repr(n) for n in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "") if shown else "none"


def check_unused(program: Program, feeds: Mapping[str, object], needed: Sequence[str]) -> None:
    """A feed that nothing reads is fine if the program has such an input; nobody looks at its shape and dtype then."""
    _check_names(feeds)
    variables = program.global_block().vars
    inputs = [n for n, v in variables.items() if v.is_data]
    for name in feeds:
        if name not in needed and name not in inputs:
            if name in variables:
                raise FeedError(
                    f"{name!r} is no input of the program",
                    expected="a variable made by data()",
                    got="a state, which the scope holds" if variables[name].persistable else "the result of an op",
                    op=variables[name],
                    where=variables[name].location,
                    hint=nearest_name_hint(name, inputs),
                )
            raise UnknownVariable(str(name), inputs, what=f"{name!r} is fed, which the program does not have")


def state_of(scope: Scope, name: str) -> npt.NDArray[Any]:
    """The value of a persistable variable; FeedError if there is none."""
    holder = scope.find_var(name)
    if holder is None or holder.value is None:
        raise FeedError(
            f"variable {name!r} has no value in the scope", expected="a value from an earlier run", got="none",
            hint="run the startup program first, with the same scope", variable=name,
        )  # fmt: skip
    return holder.value
