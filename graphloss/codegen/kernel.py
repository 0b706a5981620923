"""Kernels to LLVM IR: one function per kernel over a range of chunks, one driver per run of kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.alike import alike
from graphloss.codegen.by_rows import emit_row_driver
from graphloss.codegen.call import Callee
from graphloss.codegen.chunk import Chunk
from graphloss.codegen.columns import emit_columns
from graphloss.codegen.flow import I64, POINTER, VOID, i64
from graphloss.codegen.frame import Frame
from graphloss.codegen.lanes_rows import emit_lanes_are_rows
from graphloss.codegen.nest import emit_nest, nest_cost
from graphloss.codegen.nodes import scalar_level, scalar_stores
from graphloss.codegen.plan import Plan, kernel_cost
from graphloss.codegen.rows import emit_rows, emit_split_row
from graphloss.codegen.table import DISPATCH, STATUS, Table, chunks, extent, work
from graphloss.codegen.target import Target
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import Column, Keep, Kernel, Store, Tile
from graphloss.schedule.nest import Native, NestKernel

# Elements times cost from which several threads pay: about 10 microseconds of serial work.
WORTH_DISPATCH: Final = 1_000_000

_CHEAP: Final = 8  # cost of one element up to which a single row is taken for a finish

_TILES: Final = {Tile.ROWS: emit_rows, Tile.COLUMNS: emit_columns, Tile.LANES_ARE_ROWS: emit_lanes_are_rows}


@dataclass(frozen=True)
class _Part:
    """A kernel and its code; `own`, the table that this code takes where it serves several kernels."""

    kernel: Native
    code: ir.Function
    own: Table | None


def emit_module(
    kernels: Sequence[Native],
    table: Table,
    target: Target,
    segments: Sequence[Sequence[str]] = (),
    by_rows: Mapping[int, Dim] = MappingProxyType({}),
) -> ir.Module:
    """The module with `void k<i>(ptr table, i64 first chunk, i64 end chunk)` for the i-th kernel, unless one before it
    has the same code, and `void run_<j>(ptr table)` for the j-th segment, a list of kernel names that run one after the
    other; for those `by_rows` `void run_<j>(ptr table, i64 first row, i64 end row)`, of so many rows.

    Chunks of one kernel may run in any order and on any thread. A driver gives a kernel of several chunks and enough
    work to the dispatch function of the table: `void dispatch(ptr kernel, ptr table, i64 chunks)`.
    """
    module = ir.Module(name="kernels")
    cut = {name for number in by_rows for name in segments[number]}
    shared = alike(k for k in kernels if k.name not in cut)
    parts: dict[str, _Part] = {}
    for number, kernel in enumerate(kernels):
        first, own = shared.get(kernel.name, (kernel.name, None))
        if first == kernel.name:
            code = _emit_kernel(module, f"k{number}", kernel, table if own is None else own, target)
        else:
            code = parts[first].code
        parts[kernel.name] = _Part(kernel, code, own)
    for number, names in enumerate(segments):
        here = [parts[name] for name in names]
        if number in by_rows:
            plain = [(p.kernel, p.code) for p in here if isinstance(p.kernel, Kernel)]
            emit_row_driver(module, f"run_{number}", plain, by_rows[number], table, WORTH_DISPATCH)
        else:
            _emit_driver(module, f"run_{number}", here, table)
    return module


def _emit_kernel(module: ir.Module, name: str, kernel: Native, table: Table, target: Target) -> ir.Function:
    if isinstance(kernel, NestKernel):
        return emit_nest(module, name, kernel, table, target)
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, I64]), name)
    function.attributes.add("nounwind")
    frame = Frame(function, module, kernel, table, target)
    plan = Plan(kernel)
    scalar_level(frame)
    scalar_stores(frame, function.args[1])
    chunk = Chunk(frame, plan)
    emit = _TILES[kernel.tile]
    if kernel.split_row:
        emit = emit_split_row
    grain, last = frame.dim(kernel.grain), frame.dim(extent(kernel))

    def body(number: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        begin = flow.mul(frame.builder, number, grain)
        end = flow.smaller(frame.builder, flow.add(frame.builder, begin, grain), last)
        chunk.begin(number)
        emit(frame, plan, chunk, begin, end)
        chunk.end(number)
        return []

    if chunks(kernel) == 1:
        body(i64(0), [])
    else:
        flow.for_loop(frame.builder, function.args[1], function.args[2], 1, [], body)
    if _is_finish(kernel, plan):  # not worth the time of the code generator
        function.attributes.add("noinline")
        function.attributes.add("optnone")
    frame.finish()
    return function


def _is_finish(kernel: Kernel, plan: Plan) -> bool:
    """Whether all a kernel does is to fold the partial results of another and compute a few scalars."""
    positions = [p for step in plan.loops for p in step.inside]
    return (
        not kernel.outer
        and kernel.inner is None
        and not kernel.split_row
        and sum(step.cost for step in plan.loops) <= _CHEAP
        and not plan.positions(Column)
        and not any(isinstance(kernel.nodes[p].action, (Store, Keep)) for p in positions)
    )


def _emit_driver(module: ir.Module, name: str, parts: Sequence[_Part], table: Table) -> None:
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER]), name)
    for attribute in ("nounwind", "noinline", "optnone"):  # it runs once: not worth the time of the code generator
        function.attributes.add(attribute)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    argument = function.args[0]

    def word(index: int, typ: ir.Type) -> ir.Value:
        return builder.load(builder.gep(argument, [i64(index)], source_etype=I64), typ=typ, align=8)

    def size(dim: Dim) -> ir.Value:
        return i64(dim) if isinstance(dim, int) else word(table.dim_index(dim), I64)

    space = argument
    if longest := max((p.own.slots for p in parts if p.own is not None), default=0):
        space = builder.alloca(I64, size=ir.Constant(flow.I32, longest))
        space.type = POINTER  # llvmlite types the address of stack space

    held: dict[int, int] = {}  # what lies in the space: word -> word of the table

    def table_of(part: _Part) -> ir.Value:
        """What the code of a part takes: all of them the same space, since none runs when the next one begins."""
        if part.own is None:
            return argument
        words = [STATUS, *map(table.dim_index, part.own.dims), *map(table.buffer_index, part.own.buffers)]
        for to, index in enumerate(words, STATUS):
            if held.get(to) == index:
                continue
            held[to] = index
            builder.store(word(index, I64), builder.gep(space, [i64(to)], source_etype=I64), align=8)
        return space

    dispatch = Callee(word(DISPATCH, POINTER), ir.FunctionType(VOID, [POINTER, POINTER, I64]))
    threaded = builder.icmp_unsigned("!=", dispatch.pointer, ir.Constant(POINTER, None))
    for part in parts:
        kernel, code, given = part.kernel, part.code, table_of(part)
        count, elements = chunks(kernel), work(kernel)
        cost = nest_cost(kernel) if isinstance(kernel, NestKernel) else kernel_cost(kernel)
        least = -(-WORTH_DISPATCH // cost)
        if (isinstance(count, int) and count <= 1) or (isinstance(elements, int) and elements < least):
            builder.call(code, [given, i64(0), size(count)])
            continue
        number = size(count)
        worth = builder.and_(threaded, builder.icmp_signed(">", number, i64(1)))
        worth = builder.and_(worth, builder.icmp_signed(">=", size(elements), i64(least)))
        with builder.if_else(worth) as (several, alone):
            with several:
                builder.call(dispatch, [builder.bitcast(code, POINTER), given, number])
            with alone:
                builder.call(code, [given, i64(0), number])
    builder.ret_void()
