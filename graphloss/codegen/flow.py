"""Loops and branches in SSA form: values carried round a loop are phi nodes, since no pass promotes stack slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from llvmlite import ir

from graphloss.codegen.constants import i64 as i64

I1: Final = ir.IntType(1)
I8: Final = ir.IntType(8)
I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)
POINTER: Final = ir.PointerType()
VOID: Final = ir.VoidType()

Carried = Sequence[ir.Value]
Body = Callable[[ir.Value, list[ir.Value]], Carried]


def known(value: ir.Value) -> int | None:
    """The number that an integer constant holds."""
    if isinstance(value, ir.Constant) and isinstance(value.constant, int):
        return value.constant
    return None


def add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a + b of 64-bit scalars, folded where it can be."""
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return i64(x + y)
    return b if x == 0 else a if y == 0 else builder.add(a, b)


def sub(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return i64(x - y)
    return a if y == 0 else builder.sub(a, b)


def mul(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return i64(x * y)
    if x == 0 or y == 0:
        return i64(0)
    return b if x == 1 else a if y == 1 else builder.mul(a, b)


def divide(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Quotient and remainder of non-negative 64-bit scalars."""
    if known(b) == 1:
        return a, i64(0)
    quotient = builder.udiv(a, b)
    return quotient, builder.sub(a, builder.mul(quotient, b))


def smaller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return i64(min(x, y))
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """`value`, of which LLVM does not know how it came about.

    It writes the bounds and addresses of a loop as sums over this loop and all around it, and then tries their pieces
    in every way: a third of the time of the code generator, for nothing, since base + index is an address as it stands.
    """
    if known(value) is not None:
        return value
    if isinstance(value, ir.PhiInstr):  # frozen itself, it would be frozen before the loop and known again inside
        value = builder.add(value, i64(0))
    # costs no instruction; the builder has no method for it
    frozen = ir.instructions.Instruction(builder.block, value.type, "freeze", (value,))
    builder.block.instructions.append(frozen)
    builder.position_at_end(builder.block)
    return frozen


def for_loop(
    builder: ir.IRBuilder,
    begin: ir.Value,
    end: ir.Value,
    step: int,
    carried: Carried,
    body: Body,
) -> list[ir.Value]:
    """for (i = begin; i < end; i += step) carried = body(i, carried); the carried values after the loop.

    `begin` and `end` are 64-bit; nothing is emitted for a loop that is known to be empty.
    """
    first, last = known(begin), known(end)
    if first is not None and last is not None:
        if first >= last:
            return list(carried)
        if first + step >= last:
            return list(body(begin, list(carried)))
    begin, end = opaque(builder, begin), opaque(builder, end)
    function = builder.function
    inside = function.append_basic_block("loop")
    after = function.append_basic_block("done")
    before = builder.block
    if first is not None and last is not None:
        builder.branch(inside)
    else:
        builder.cbranch(builder.icmp_signed("<", begin, end), inside, after)
    builder.position_at_end(inside)
    index = builder.phi(I64)
    index.add_incoming(begin, before)
    phis = []
    for value in carried:
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phis.append(phi)
    results = list(body(index, list(phis)))
    following = builder.add(index, i64(step))
    back = builder.block
    index.add_incoming(following, back)
    for phi, result in zip(phis, results, strict=True):
        phi.add_incoming(result, back)
    builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
    builder.position_at_end(after)
    outcome = []
    for value, result in zip(carried, results, strict=True):
        phi = builder.phi(value.type)
        if first is None or last is None:
            phi.add_incoming(value, before)
        phi.add_incoming(result, back)
        outcome.append(phi)
    return outcome
