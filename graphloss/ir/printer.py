"""The text form of graphs; `parser` reads it back to an equal graph."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Final

from graphloss import dtypes
from graphloss.ir.dims import Call, Dim, Equation, SymDim
from graphloss.ir.graph import Graph, Op
from graphloss.ir.types import TensorType

VALUE: Final = re.compile(r"[A-Za-z0-9_.@/]+")  # what a value's name may hold without quotes
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@/]*")  # any other name: of ops, attributes and symbols
RESERVED: Final = ("true", "false", "none", "inf", "nan", "max", "floordiv")  # never a bare symbol


def print_graph(graph: Graph, *, locations: bool = False) -> str:
    """`graph` as text; with `locations`, each op is followed by a comment with its name scope and the user's file:line.

    Example:
        >>> from graphloss.ir.types import TensorType
        >>> x = TensorType("float32", (3,))
        >>> print(print_graph(Graph("g", ("x",), (), (Op("exp", ("x",), ("y",)),), {"x": x, "y": x}, ("y",))))
        program @g {
          feed %x : f32[3]
          %y = exp(%x) : f32[3]
          fetch %y
        }
        <BLANKLINE>
    """
    lines = [declaration_text("feed", n, graph.types[n]) for n in graph.feeds]
    lines += [declaration_text("state", n, graph.types[n]) for n in graph.states]
    lines += [equation_text(e) for e in graph.equations]
    lines += [op_text(op, graph.types, locations=locations) for op in graph.ops]
    lines += [statement_text("write", target, value) for target, value in graph.writes]
    lines += [sequences_text(name, offsets) for name, offsets in graph.sequences]
    if graph.fetches:
        lines.append(f"fetch {values_text(graph.fetches)}")
    return program_text(graph.name, lines)


def program_text(name: str, lines: Iterable[str]) -> str:
    return "".join((f"program @{_bare(VALUE, name)} {{\n", *(f"  {line}\n" for line in lines), "}\n"))


def declaration_text(kind: str, name: str, type: TensorType) -> str:
    return f"{kind} {value_text(name)} : {type_text(type)}"


def statement_text(kind: str, target: str, value: str) -> str:
    return f"{kind} {value_text(target)} = {value_text(value)}"


def sequences_text(name: str, offsets: Sequence[str]) -> str:
    return f"sequences {value_text(name)} = {values_text(offsets)}"


def equation_text(equation: Equation) -> str:
    why = f" {_quoted(equation.why)}" if equation.why else ""
    return f"where {dim_text(equation.left)} == {dim_text(equation.right)}{why}"


def op_text(op: Op, types: Mapping[str, TensorType], *, locations: bool = False) -> str:
    """One op with the types of its outputs; a role other than "forward" follows as `@role`."""
    text = f"{values_text(op.outputs)} = {_call(op.type, map(value_text, op.inputs), op.attrs)} : "
    text += ", ".join(type_text(types[o]) for o in op.outputs)
    if op.role != "forward":
        text += f" @{op.role}"
    notes = (op.scope if op.scope != "/" else "", str(op.loc or "")) if locations else ()
    comment = " ".join(n for n in notes if n)
    return f"{text}  ; {comment}" if comment else text


def call_text(op: str, inputs: Sequence[tuple[str, TensorType]], attrs: Mapping[str, object]) -> str:
    """An op that has no outputs yet, with the types of its inputs: for the errors of type rules."""
    return _call(op, (f"{value_text(n)} : {type_text(t)}" for n, t in inputs), attrs.items())


def _call(op: str, inputs: Iterable[str], attrs: Iterable[tuple[str, object]]) -> str:
    listed = ", ".join(f"{_bare(NAME, k)}={attr_text(v)}" for k, v in attrs)
    return f"{_bare(NAME, op)}({', '.join(inputs)})" + (f" {{{listed}}}" if listed else "")


def values_text(names: Iterable[str]) -> str:
    return ", ".join(map(value_text, names))


def value_text(name: str) -> str:
    return f"%{_bare(VALUE, name)}"


def type_text(type: TensorType) -> str:
    return f"{dtypes.SHORT[type.dtype]}[{', '.join(map(dim_text, type.shape))}]"


def dim_text(dim: Dim) -> str:
    """A dimension: `10`, `x.0`, `2*x.0+1`, `max(x.0-1, 0)`; a symbol of other letters is written `$"…"`."""
    if not isinstance(dim, SymDim):
        return str(int(dim))
    text = ""
    for monomial, coefficient in dim.terms:
        factors = [_atom(a) for a in monomial]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, str(abs(coefficient)))
        text += ("-" if coefficient < 0 else "+" if text else "") + "*".join(factors)
    return text


def _atom(atom: str | Call) -> str:
    if isinstance(atom, Call):
        return f"{atom.fn}({', '.join(map(dim_text, atom.args))})"
    return atom if NAME.fullmatch(atom) and atom not in RESERVED else f"${_quoted(atom)}"


def attr_text(value: object) -> str:
    """An attribute: `none`, `true`, `3`, `0.5`, `"mean"`, `[0, x.0]`; a float has the shortest text that is exact."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(attr_text, value))}]"
    if isinstance(value, (SymDim, Integral)):
        return dim_text(value if isinstance(value, SymDim) else int(value))
    if isinstance(value, Real):
        return "nan" if math.isnan(value) else repr(float(value))
    raise TypeError(f"an attribute of type {type(value).__name__} has no text form")


def _bare(pattern: re.Pattern[str], name: str) -> str:
    return name if pattern.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())
