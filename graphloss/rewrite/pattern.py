"""Patterns: graphs written with the op constructors, in which the arguments of a Python function are captures.

    before = lambda x, *, axis: op.log(op.softmax(x, axis=axis))

Positional parameters capture values, keyword-only parameters capture attributes. An attribute that is not mentioned
matches
anything; a number matches a constant of any shape; the same capture twice must be the same value twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from graphloss.ir.graph import Op
from graphloss.ir.opdef import OpDef, get
from graphloss.ir.tensor import Tensor, apply, as_tensor, current, using
from graphloss.ir.types import TensorType

COMMUTATIVE: Final = frozenset(
    {"add", "mul", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or", "logical_xor", "logaddexp"}
)
_ANY_TYPE: Final = TensorType("float32", ())


class Pattern(Tensor):
    """A place in a pattern."""

    __slots__ = ()

    @property
    def type(self) -> TensorType:
        return _ANY_TYPE  # constructors ask for a dtype; a pattern has none


class Capture(Pattern):
    """Matches any value and binds it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Number(Pattern):
    """Matches a constant: the one number `value`, or any, bound to the attribute capture `name`."""

    __slots__ = ("name", "value")

    def __init__(self, value: float | None, name: str = "") -> None:
        self.value = value
        self.name = name


@dataclass(frozen=True, slots=True)
class AttrCapture:
    """Matches any value of an attribute and binds it."""

    name: str


class Node(Pattern):
    """Matches an op (its first output) whose operands match."""

    __slots__ = ("attrs", "inputs", "op")

    def __init__(self, op: str, inputs: tuple[Pattern, ...], attrs: Mapping[str, object]) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = dict(attrs)


class PatternMode:
    """The Mode in which op constructors build patterns."""

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        if op.name == "fill":
            value = attrs["value"]
            assert isinstance(value, (int, float))
            return (Number(value),)
        return (self.node(op.name, inputs, attrs),)

    def node(self, name: str, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> Pattern:
        places = []
        for x in inputs:
            if not isinstance(x, Pattern):
                raise TypeError(f"pattern {name}: an operand is no pattern ({type(x).__name__})")
            places.append(x)
        return Node(name, tuple(places), attrs)


Operand: TypeAlias = Tensor | float | int | bool


class _Ops:
    """Every op of the registry as a function, for patterns and for what replaces them: `op.softmax(x, axis=-1)`."""

    def __getattr__(self, name: str) -> Callable[..., Tensor]:
        definition = get(name)

        def construct(*operands: Operand, **attrs: object) -> Tensor:
            # a number takes the dtype of the last tensor: the first of `where` is its condition
            dtype = next((x.type.dtype for x in reversed(operands) if isinstance(x, Tensor)), "float32")
            inputs = [as_tensor(x, dtype, name) for x in operands]
            mode = current()
            if isinstance(mode, PatternMode):
                return mode.node(definition.name, inputs, attrs)
            return apply(name, inputs, attrs)[0]

        return construct

    def number(self, value: AttrCapture) -> Tensor:
        """A pattern for any constant, captured as an attribute."""
        return Number(None, value.name)


op: Final = _Ops()


class View(Protocol):
    """What matching asks of a graph."""

    def op_of(self, name: str) -> Op | None:
        """The op that defines `name`, None if there is none or patterns may not look through it."""

    def number_of(self, name: str) -> float | int | bool | None:
        """The number that every element of `name` is, if it is a constant."""


Bindings: TypeAlias = dict[str, object]  # capture -> name of a value, or value of an attribute


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled `before`: its root and the names of its captures."""

    root: Node
    values: tuple[str, ...]
    attrs: tuple[str, ...]


def parameters(function: Callable[..., object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the positional and of the keyword-only parameters of a plain function; `inspect` takes a third of
    a millisecond."""
    code = function.__code__
    positional, end = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    return code.co_varnames[:positional], code.co_varnames[positional:end]


def compile_pattern(before: Callable[..., Tensor]) -> Template:
    """Runs `before` once on captures."""
    values, attrs = parameters(before)
    arguments = [Capture(name) for name in values]
    keywords = {name: AttrCapture(name) for name in attrs}
    with using(PatternMode()):
        root = before(*arguments, **keywords)
    if not isinstance(root, Node):
        raise TypeError("a pattern must be an op, not a bare capture or number")
    return Template(root, values, attrs)


def match(pattern: Pattern, name: str, view: View, bound: Bindings) -> Iterator[Bindings]:
    """Every way in which the value `name` matches."""
    if isinstance(pattern, Capture):
        if bound.get(pattern.name, name) == name:
            yield {**bound, pattern.name: name}
        return
    if isinstance(pattern, Number):
        number = view.number_of(name)
        if number is None:
            return
        if pattern.value is None:
            if bound.get(pattern.name, number) == number:
                yield {**bound, pattern.name: number}
        elif number == pattern.value and math.copysign(1, number) == math.copysign(1, pattern.value):
            yield bound
        return
    found = view.op_of(name)
    if found is not None and found.outputs[0] == name:
        yield from match_op(pattern, found, view, bound)


def match_op(pattern: Pattern, found: Op, view: View, bound: Bindings) -> Iterator[Bindings]:
    """Every way in which the op `found` matches a Node."""
    assert isinstance(pattern, Node)
    if found.type != pattern.op or len(found.inputs) != len(pattern.inputs):
        return
    if pattern.attrs:
        given = found.attr
        bound = dict(bound)
        for key, wanted in pattern.attrs.items():
            if isinstance(wanted, AttrCapture):
                if wanted.name in bound and bound[wanted.name] != given[key]:
                    return
                bound[wanted.name] = given[key]
            elif given[key] != wanted:
                return
    yield from _match_all(pattern.inputs, found.inputs, view, bound)
    if pattern.op in COMMUTATIVE:
        yield from _match_all(pattern.inputs, found.inputs[::-1], view, bound)


def _match_all(patterns: Sequence[Pattern], names: Sequence[str], view: View, bound: Bindings) -> Iterator[Bindings]:
    if not patterns:
        yield bound
        return
    for b in match(patterns[0], names[0], view, bound):
        yield from _match_all(patterns[1:], names[1:], view, b)
