"""What every emitted function shares: the words of its argument, stack space, the status block of failed checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.flow import I8, I64, POINTER, VOID, i64
from graphloss.codegen.table import STATUS, STATUS_WORDS, Table
from graphloss.codegen.values import Lanes, Target
from graphloss.ir.dims import Dim

LINE: Final = 64  # bytes of a cache line, and of a vector


class CallFrame:
    """One function under construction. What holds for the whole call is computed in its entry block on first use."""

    def __init__(self, function: ir.Function, module: ir.Module, table: Table, target: Target, width: int) -> None:
        self.table = table
        self.function = function
        self._entry = ir.IRBuilder(function.append_basic_block("entry"))
        self._start = function.append_basic_block("start")
        self.builder = ir.IRBuilder(self._start)
        self.lanes = Lanes(self.builder, module, width, target)
        self.memory = self.lanes.with_builder(self._entry)
        self._words: dict[object, ir.Value] = {}

    def finish(self) -> None:
        self.builder.ret_void()
        self._entry.branch(self._start)

    # the argument

    def _word(self, key: object, index: int, typ: ir.Type) -> ir.Value:
        if key not in self._words:
            pointer = self._entry.gep(self.function.args[0], [i64(index)], source_etype=I64)
            self._words[key] = self._entry.load(pointer, typ=typ, align=8)
        return self._words[key]

    def dim(self, dim: Dim) -> ir.Value:
        """A dimension of this run, 64-bit."""
        if isinstance(dim, int):
            return i64(dim)
        return self._word(("dim", dim), self.table.dim_index(dim), I64)

    def buffer(self, name: str) -> ir.Value:
        """The address of a buffer."""
        return self._word(("buffer", name), self.table.buffer_index(name), POINTER)

    def at_entry(self, key: object, make: Callable[[ir.IRBuilder], ir.Value]) -> ir.Value:
        """A value computed once per call, from sizes only."""
        if key not in self._words:
            self._words[key] = make(self._entry)
        return self._words[key]

    # stack

    def stack(self, dtype: str, count: int) -> ir.Value:
        """Space for `count` elements of `dtype` (bool: one byte each), aligned to a line, for the whole call."""
        typ = I8 if dtype == "bool" else self.lanes.scalar_ty(dtype)
        space = self._entry.alloca(typ, size=ir.Constant(flow.I32, count))
        space.align = LINE
        space.type = POINTER  # llvmlite types the address of stack space
        return space

    def shared_stack(self, dtype: str, count: int) -> ir.Value:
        """As `stack`, the same space for all who ask: for what is not kept."""
        key = ("stack", dtype, count)
        if key not in self._words:
            self._words[key] = self.stack(dtype, count)
        return self._words[key]

    # checks

    def status(self, slot: int) -> ir.Value:
        base = self._word("status", STATUS, POINTER)
        return self.builder.gep(base, [i64(slot * STATUS_WORDS)], source_etype=I64)

    def report_lanes(
        self, lanes: Lanes, slot: int, bad: ir.Value, found: ir.Value, where: Callable[[], tuple[ir.Value, ir.Value]]
    ) -> None:
        """Records the lanes `bad` (mask) with the values `found` (64-bit); a branch that no good run takes.

        `where` gives the position of lane 0 and the distance from lane to lane.
        """
        with self.builder.if_then(lanes.reduce_or(bad), likely=None):
            first, distance = where()
            bits = self.builder.zext(self.builder.bitcast(bad, ir.IntType(lanes.width)), I64)
            values = self.shared_stack("int64", lanes.width)
            wide = self.builder.store(found, values)
            wide.align = LINE
            self.builder.call(report_function(lanes.module), [self.status(slot), bits, values, first, distance])


def report_function(module: ir.Module) -> ir.Function:
    """void report(status slot, bits of bad lanes, values, first row, distance): keeps the lowest row and its value."""
    name = "report"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, POINTER, I64, I64]), name)
    function.linkage = "internal"
    slot, bits, values, first, distance = function.args
    entry, loop, wait, locked, better, unlock, done = (
        function.append_basic_block(b) for b in ("entry", "loop", "wait", "locked", "better", "unlock", "done")
    )
    builder = ir.IRBuilder(entry)
    value_at = builder.gep(slot, [i64(1)], source_etype=I64)
    lock = builder.gep(slot, [i64(2)], source_etype=I64)
    builder.cbranch(builder.icmp_unsigned("==", bits, i64(0)), done, loop)
    builder.position_at_end(loop)
    rest = builder.phi(I64)
    rest.add_incoming(bits, entry)
    lane = builder.cttz(rest, ir.Constant(flow.I1, 1))
    row = builder.add(first, builder.mul(lane, distance))
    builder.branch(wait)
    # Two words change together, so a lock; failures are rare, and who waits does so for a few instructions.
    builder.position_at_end(wait)
    taken = builder.cmpxchg(lock, i64(0), i64(1), "acquire", "monotonic")
    builder.cbranch(builder.extract_value(taken, 1), locked, wait)
    builder.position_at_end(locked)
    lowest = builder.load(slot, typ=I64, align=8)
    builder.cbranch(builder.icmp_signed("<", row, lowest), better, unlock)
    builder.position_at_end(better)
    builder.store(row, slot, align=8)
    value = builder.load(builder.gep(values, [lane], source_etype=I64), typ=I64, align=8)
    builder.store(value, value_at, align=8)
    builder.branch(unlock)
    builder.position_at_end(unlock)
    builder.atomic_rmw("xchg", lock, i64(0), "release")
    following = builder.and_(rest, builder.sub(rest, i64(1)))
    rest.add_incoming(following, unlock)
    builder.cbranch(builder.icmp_unsigned("==", following, i64(0)), done, loop)
    builder.position_at_end(done)
    builder.ret_void()
    return function


class Callee:
    """A function known by its address only, in the form llvmlite calls."""

    calling_convention = ""

    def __init__(self, pointer: ir.Value, signature: ir.FunctionType) -> None:
        self.pointer = pointer
        self.function_type = signature
        self.type = pointer.type

    def get_reference(self) -> str:
        return str(self.pointer.get_reference())
