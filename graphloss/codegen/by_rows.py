"""Drivers that run kernels on some rows: of each kernel the chunks that make them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.call import Callee
from graphloss.codegen.flow import I64, POINTER, VOID, i64
from graphloss.codegen.plan import kernel_cost
from graphloss.codegen.table import DISPATCH, Table, extent
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import Kernel

_RANGE: Final = ir.LiteralStructType([POINTER, I64])  # what a part of a range is called with: table, first chunk


def emit_row_driver(
    module: ir.Module, name: str, parts: Sequence[tuple[Kernel, ir.Function]], rows: Dim, table: Table, worth: int
) -> None:
    """`void name(ptr table, i64 begin, i64 end)`: kernels, one after the other, on `rows` [begin, end).

    Each row is the same number of positions of a kernel, whose chunks are whole rows; `begin` is the start of a chunk,
    and so is `end` unless it is the last row. From `worth` elements times cost on, the chunks go to the dispatch
    function.
    """
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, I64]), name)
    for attribute in ("nounwind", "noinline", "optnone"):
        function.attributes.add(attribute)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    argument, begin, end = function.args
    job = builder.alloca(_RANGE)
    job.type = POINTER

    def word(index: int, typ: ir.Type) -> ir.Value:
        return builder.load(builder.gep(argument, [i64(index)], source_etype=I64), typ=typ, align=8)

    def size(dim: Dim) -> ir.Value:
        return i64(dim) if isinstance(dim, int) else word(table.dim_index(dim), I64)

    dispatch = Callee(word(DISPATCH, POINTER), ir.FunctionType(VOID, [POINTER, POINTER, I64]))
    threaded = builder.icmp_unsigned("!=", dispatch.pointer, ir.Constant(POINTER, None))
    for kernel, code in parts:
        inside = _per_row(builder, kernel, rows, size)
        grain = size(kernel.grain)
        positions = flow.mul(builder, end, inside)
        first, _ = flow.divide(builder, flow.mul(builder, begin, inside), grain)
        last, _ = flow.divide(builder, flow.add(builder, positions, flow.sub(builder, grain, i64(1))), grain)
        count = builder.sub(last, first)
        elements = flow.mul(builder, builder.sub(end, begin), inside)
        for n in kernel.axes[1 if kernel.split_row else len(kernel.outer) :]:
            elements = flow.mul(builder, elements, size(n))
        several = builder.and_(threaded, builder.icmp_signed(">", count, i64(1)))
        least = i64(-(-worth // kernel_cost(kernel)))
        with builder.if_else(builder.and_(several, builder.icmp_signed(">=", elements, least))) as (shared, alone):
            with shared:
                builder.store(argument, job, align=8)
                builder.store(first, _first(builder, job), align=8)
                builder.call(dispatch, [builder.bitcast(_part(module, code), POINTER), job, count])
            with alone:
                builder.call(code, [argument, first, last])
    builder.ret_void()


def _per_row(builder: ir.IRBuilder, kernel: Kernel, rows: Dim, size: Callable[[Dim], ir.Value]) -> ir.Value:
    """How many positions of a kernel make a row."""
    known = dims.exact_div(extent(kernel), rows)
    if isinstance(known, int):
        return i64(known)
    number = size(rows)
    number = builder.select(builder.icmp_signed(">", number, i64(0)), number, i64(1))
    return flow.divide(builder, size(extent(kernel)), number)[0]


def _part(module: ir.Module, code: ir.Function) -> ir.Function:
    """`void part(ptr job, i64 begin, i64 end)`: the kernel on these chunks of the job, counted from its first."""
    name = f"{code.name}_part"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, I64]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    job, begin, end = function.args
    table = builder.load(job, typ=POINTER, align=8)
    first = builder.load(_first(builder, job), typ=I64, align=8)
    builder.call(code, [table, builder.add(begin, first), builder.add(end, first)])
    builder.ret_void()
    return function


def _first(builder: ir.IRBuilder, job: ir.Value) -> ir.Value:
    return builder.gep(job, [i64(1)], source_etype=I64)
