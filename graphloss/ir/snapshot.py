"""The snapshot of a program: the frozen SSA graph that computes some fetches and every effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graphloss.errors import ArgumentTypeError, GraphlossError, VerifyError
from graphloss.ir.dims import Equations, SymDim, shifted, symbols
from graphloss.ir.graph import Attr, Graph, Op, attr_symbols
from graphloss.ir.linear import Linear, grad_parts, linearise
from graphloss.ir.opdef import get
from graphloss.ir.operator import DERIVATIVES
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType
from graphloss.ir.variable import Variable

if TYPE_CHECKING:
    from graphloss.ir.program import Program


def snapshot(program: Program, fetches: Sequence[Tensor | str] = ()) -> Graph:
    """The graph of `program`: what the fetches need, and writes, random ops and what they need; nothing else.

    Reads after a write see the written value; a fetch gives a variable's last version. Types are inferred anew, from
    the ops that are kept, so that `equations` holds exactly what these need; they are in canonical form: equal
    dimensions look equal.
    """
    wanted = [_fetched(program, f) for f in fetches]
    linear = linearise(program)
    for name in wanted:
        if name not in linear.last:
            var = program.global_block().vars[name]
            linear.origins[name] = "feed" if var.is_data else "state" if var.persistable else "undefined"
            linear.last[name] = name
    results = tuple(linear.last[name] for name in wanted)
    random = [o for op in linear.ops if get(op.type).random for o in op.outputs]
    needed = _needed(linear, (*results, *linear.writes.values(), *random))
    _check_defined(program, linear, needed)
    ops = [_needed_part(op, needed) for op in linear.ops if not needed.isdisjoint(op.outputs)]
    equations, types = _inferred(program, linear, ops, needed)
    canonical = equations.canonical
    types = {n: t.with_shape(tuple(map(canonical, t.shape))) for n, t in types.items()}
    ops = [_canonical_attrs(op, equations) for op in ops]
    feeds = {n for n in types if linear.origins[n] == "feed"}
    states = [n for n in types if linear.origins[n] == "state"]
    for name in _binding_feeds(program, ops, types, feeds, states):
        feeds.add(name)
        declared = program.global_block().vars[name].type
        types[name] = declared.with_shape(tuple(map(canonical, declared.shape)))
    return Graph(
        name=program.name,
        feeds=tuple(n for n in program.global_block().vars if n in feeds),
        states=tuple(states),
        ops=tuple(ops),
        types=types,
        fetches=results,
        writes=tuple(linear.writes.items()),
        equations=tuple(equations.recorded),
    )


def _fetched(program: Program, fetch: Tensor | str) -> str:
    if isinstance(fetch, str):
        return program.var(fetch).name
    if not isinstance(fetch, Variable):
        raise ArgumentTypeError("a fetch is a Variable or its name", "Variable or str", type(fetch).__name__)
    if fetch.block.program.family is not program.family:
        raise ArgumentTypeError(
            f"variable {fetch.name!r} belongs to another program",
            expected=f"a variable of {program.described}",
            got=f"one of {fetch.block.program.described}",
            where=fetch.location,
            hint="run the program that the variable was built in",
        )
    return program.var(fetch.name).name  # of a clone, its own


def _needed(linear: Linear, names: Sequence[str]) -> set[str]:
    """All that `names` depend on, what measures their dimensions included."""
    needed = linear.depends(names)
    sizes = {s: op.outputs[0] for op in linear.ops if get(op.type).measures for s in _sizes(op)}
    while sizes:
        used = {s for op in linear.ops if not needed.isdisjoint(op.outputs) for s in _sizes(op)}
        more = {sizes[s] for s in used & sizes.keys()} - needed
        if not more:
            break
        needed = linear.depends((*needed, *more))
    return needed


def _sizes(op: Op) -> Iterator[str]:
    return (s for _, value in op.attrs for s in attr_symbols(value))


def _needed_part(op: Op, needed: set[str]) -> Op:
    """`op`; of a derivative, the part that is needed."""
    if op.type not in DERIVATIVES:
        return op
    targets, wrt, seeds = grad_parts(op)
    kept = [(x, out) for x, out in zip(wrt, op.outputs, strict=True) if out in needed]
    attrs = op.attr
    stopped = attrs["no_grad"]
    assert isinstance(stopped, tuple)
    attrs.update(n_wrt=len(kept), no_grad=tuple(n for n in stopped if n in needed))
    inputs = (*targets, *(x for x, _ in kept), *seeds)
    return replace(op, inputs=inputs, outputs=tuple(out for _, out in kept), attrs=tuple(attrs.items()))


def _check_defined(program: Program, linear: Linear, needed: set[str]) -> None:
    for name in needed:
        if linear.origins[name] == "undefined":
            reader = next((s for op, s in zip(linear.ops, linear.statements, strict=True) if name in op.inputs), None)
            raise VerifyError(
                f"variable {name!r} is read before any op defines it",
                op=reader,
                where=reader.location if reader else program.global_block().vars[name].location,
                hint="declare it by data() to feed it, or make it persistable and give it a value",
            )


def _inferred(
    program: Program, linear: Linear, ops: Sequence[Op], needed: set[str]
) -> tuple[Equations, dict[str, TensorType]]:
    """Types of everything needed, with the equations that just these ops ask for."""
    variables = program.global_block().vars
    equations = Equations()
    types = {n: variables[n].type for n, kind in linear.origins.items() if kind != "op" and n in needed}
    for op in ops:
        try:
            inferred = get(op.type).infer([types[i] for i in op.inputs], op.attr, equations)
        except GraphlossError as error:
            raise error.with_op(program.global_block().op_text(op), op.loc) from None
        types.update(zip(op.outputs, inferred, strict=True))
    for target, value in linear.writes.items():
        for a, b in zip(variables[target].type.shape, types[value].shape, strict=True):
            equations.equal(a, b, f"write of {target}")
    return equations, types


def _canonical_attrs(op: Op, equations: Equations) -> Op:
    def canonical(value: Attr) -> Attr:
        if isinstance(value, SymDim):
            return equations.canonical(value)
        return tuple(canonical(v) for v in value) if isinstance(value, tuple) else value

    attrs = tuple((k, canonical(v)) for k, v in op.attrs)
    return op if attrs == op.attrs else replace(op, attrs=attrs)


def _binding_feeds(
    program: Program, ops: Sequence[Op], types: dict[str, TensorType], feeds: set[str], states: Sequence[str]
) -> Iterator[str]:
    """Feeds that no op reads, but whose shape binds a symbol that is used."""
    bound = {s[0] for n in (*feeds, *states) for d in types[n].shape if (s := shifted(d)) is not None}
    used = {s for t in types.values() for d in t.shape for s in symbols(d)}
    used.update(s for op in ops for s in _sizes(op))
    for name in sorted(used - bound):
        owner = program.symbol_owner(name)
        if owner and owner not in feeds and program.global_block().vars[owner].is_data:
            yield owner
