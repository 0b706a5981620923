"""The programs that ops go to, and the guards that change them; each thread of control has its own guards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.ir.context import current_scope, entered_scope
from graphloss.ir.program import Program

_MAIN: Final = Program("main")
_STARTUP: Final = Program("startup")
_MAIN.location = _STARTUP.location = None  # nobody's line of code made them
_main: ContextVar[Program | None] = ContextVar("graphloss_main_program", default=None)
_startup: ContextVar[Program | None] = ContextVar("graphloss_startup_program", default=None)


def default_main_program() -> Program:
    """The program that op constructors append to: that of the innermost `program_guard`, else the process's."""
    return _main.get() or _MAIN


def default_startup_program() -> Program:
    """The program that the ops which initialise parameters go to."""
    return _startup.get() or _STARTUP


@contextmanager
def program_guard(main_program: Program, startup_program: Program | None = None) -> Iterator[None]:
    """Inside, ops go to `main_program`, and initialisation to `startup_program` if one is given.

    Raises:
        ArgumentTypeError: an argument is no Program.

    Example:
        >>> main = Program()
        >>> with program_guard(main):
        ...     default_main_program() is main
        True
    """
    for argument in (main_program, startup_program):
        if not isinstance(argument, Program) and (argument is not None or argument is main_program):
            raise ArgumentTypeError("program_guard takes programs", "a Program", type(argument).__name__)
    main = _main.set(main_program)
    startup = _startup.set(startup_program) if startup_program is not None else None
    try:
        yield
    finally:
        _main.reset(main)
        if startup is not None:
            _startup.reset(startup)


@contextmanager
def name_scope(prefix: str | None = None) -> Iterator[None]:
    """Ops made inside are shown under `/prefix/`; scopes nest, and one entered again gets `_1`, ….

    Variable names do not change.

    Raises:
        AttrError: `prefix` is empty.

    Example:
        >>> with program_guard(Program()), name_scope("encoder"), name_scope("attention"):
        ...     current_scope()
        '/encoder/attention/'
    """
    if prefix is not None and not isinstance(prefix, str):
        raise ArgumentTypeError("name_scope takes a text", "str", type(prefix).__name__)
    if prefix == "":
        raise AttrError("the prefix of a name scope is empty")
    if prefix is None:
        yield
        return
    path = current_scope() + prefix
    entered = default_main_program().scopes
    n = entered.get(path, 0)
    entered[path] = n + 1
    with entered_scope(f"{path}_{n}/" if n else f"{path}/"):
        yield
