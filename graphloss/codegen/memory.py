"""Lanes and memory: loads, stores, gathers, shuffles and reductions across lanes."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from graphloss.codegen import constants
from graphloss.codegen.arithmetic import LaneArithmetic, mangled

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


class LaneMemory(LaneArithmetic):
    """Adds memory to the arithmetic. Pointers are scalars; bool is one byte in memory and a mask in registers."""

    def _memory(self, dtype: str) -> str:
        return "uint8" if dtype == "bool" else dtype

    def _align(self, dtype: str) -> int:
        typ = self.scalar_ty(self._memory(dtype))
        return {"float": 4, "double": 8}.get(str(typ)) or int(typ.width) // 8

    def _from_memory(self, value: ir.Value, dtype: str) -> ir.Value:
        return self.ne(value, self.const("uint8", 0)) if dtype == "bool" else value

    def _to_memory(self, value: ir.Value, dtype: str) -> ir.Value:
        return self.builder.zext(value, self.ty("uint8")) if dtype == "bool" else value

    def element(self, base: ir.Value, index: ir.Value, dtype: str) -> ir.Value:
        """The address of element `index` (64-bit, scalar) of an array of `dtype`."""
        return self.builder.gep(base, [index], source_etype=self.scalar_ty(self._memory(dtype)))

    def load(self, pointer: ir.Value, dtype: str) -> ir.Value:
        """`width` consecutive elements; only element alignment is assumed."""
        loaded = self.builder.load(pointer, typ=self.ty(self._memory(dtype)), align=self._align(dtype))
        return self._from_memory(loaded, dtype)

    def store(self, pointer: ir.Value, value: ir.Value, dtype: str) -> None:
        self.builder.store(self._to_memory(value, dtype), pointer, align=self._align(dtype))

    def load_scalar(self, pointer: ir.Value, dtype: str) -> ir.Value:
        """One element in a scalar register."""
        loaded = self.builder.load(pointer, typ=self.scalar_ty(self._memory(dtype)), align=self._align(dtype))
        return self.builder.icmp_unsigned("!=", loaded, ir.Constant(loaded.type, 0)) if dtype == "bool" else loaded

    def broadcast(self, pointer: ir.Value, dtype: str) -> ir.Value:
        """One element of memory in every lane."""
        return self.splat(self.load_scalar(pointer, dtype))

    def _when(self, mask: ir.Value, do: Callable[[], ir.Value | None], otherwise: ir.Value | None) -> ir.Value | None:
        """The scalar form of a masked access: a branch around it."""
        before = self.builder.block
        with self.builder.if_then(mask):
            done = do()
            inside = self.builder.block
        if otherwise is None or done is None:
            return None
        result = self.builder.phi(otherwise.type)
        result.add_incoming(otherwise, before)
        result.add_incoming(done, inside)
        return result

    def masked_load(self, pointer: ir.Value, mask: ir.Value, dtype: str, other: ir.Value | None = None) -> ir.Value:
        """Consecutive elements where the mask is true and `other` (default 0) elsewhere; the rest is not touched."""
        rest = self.const(dtype, 0) if other is None else other
        if self.width == 1:
            return self._when(mask, lambda: self.load(pointer, dtype), rest)
        typ = self.ty(self._memory(dtype))
        loaded = self.intrinsic(
            f"llvm.masked.load.{mangled(typ)}.p0", typ,
            pointer, ir.Constant(_I32, self._align(dtype)), mask, self._to_memory(rest, dtype),
        )  # fmt: skip
        return self._from_memory(loaded, dtype)

    def masked_store(self, pointer: ir.Value, mask: ir.Value, value: ir.Value, dtype: str) -> None:
        """Store the lanes where the mask is true."""
        if self.width == 1:
            self._when(mask, lambda: self.store(pointer, value, dtype), None)
            return
        stored = self._to_memory(value, dtype)
        if isinstance(stored.type.element, ir.IntType):
            mask = self._unknown(mask)
        self.intrinsic(
            f"llvm.masked.store.{mangled(stored.type)}.p0", ir.VoidType(),
            stored, pointer, ir.Constant(_I32, self._align(dtype)), mask,
        )  # fmt: skip

    def _unknown(self, mask: ir.Value) -> ir.Value:
        """The mask, which LLVM does not know: a truncated lane that is known to be the only one it would store in the
        width from before the truncation, beyond the end."""
        bits = self.builder.zext(self.builder.bitcast(mask, ir.IntType(self.width)), _I64)
        hidden = self.builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [bits], False)
        return self.builder.bitcast(self.builder.trunc(hidden, ir.IntType(self.width)), mask.type)

    def _addresses(self, base: ir.Value, index: ir.Value, dtype: str) -> ir.Value:
        # llvmlite's gep cannot type a vector of addresses, so they are computed as integers (index is signed).
        wide = index if self.dtype_of(index) == "int64" else self.builder.sext(index, self.ty("int64"))
        start = self.splat(self.builder.ptrtoint(base, _I64))
        shift = self._align(dtype).bit_length() - 1
        return self.builder.inttoptr(self.add(start, self.shl(wide, shift) if shift else wide), self.ty("pointer"))

    def gather(self, base: ir.Value, index: ir.Value, dtype: str, mask: ir.Value | None = None,
               other: ir.Value | None = None) -> ir.Value:  # fmt: skip
        """base[index] per lane (index int32 or int64, in elements); `other` (default 0) where the mask is false."""
        if self.width == 1:
            wide = index if self.dtype_of(index) == "int64" else self.builder.sext(index, _I64)
            pointer = self.element(base, wide, dtype)
            return self.load(pointer, dtype) if mask is None else self.masked_load(pointer, mask, dtype, other)
        typ = self.ty(self._memory(dtype))
        rest = self._to_memory(self.const(dtype, 0) if other is None else other, dtype)
        where = self.const("bool", True) if mask is None else mask
        loaded = self.intrinsic(
            f"llvm.masked.gather.{mangled(typ)}.{mangled(self.ty('pointer'))}", typ,
            self._addresses(base, index, dtype), ir.Constant(_I32, self._align(dtype)), where, rest,
        )  # fmt: skip
        return self._from_memory(loaded, dtype)

    def scatter(self, base: ir.Value, index: ir.Value, value: ir.Value, dtype: str,
                mask: ir.Value | None = None) -> None:  # fmt: skip
        """base[index] = value per lane; of two lanes with the same index the higher one wins."""
        if self.width == 1:
            wide = index if self.dtype_of(index) == "int64" else self.builder.sext(index, _I64)
            pointer = self.element(base, wide, dtype)
            if mask is None:
                self.store(pointer, value, dtype)
            else:
                self.masked_store(pointer, mask, value, dtype)
            return
        stored = self._to_memory(value, dtype)
        where = self.const("bool", True) if mask is None else mask
        self.intrinsic(
            f"llvm.masked.scatter.{mangled(stored.type)}.{mangled(self.ty('pointer'))}", ir.VoidType(),
            stored, self._addresses(base, index, dtype), ir.Constant(_I32, self._align(dtype)), where,
        )  # fmt: skip

    # lanes

    def iota(self, dtype: str) -> ir.Value:
        """0, 1, 2, ... over the lanes."""
        if self.width == 1:
            return self.const(dtype, 0)
        return constants.iota(self.scalar_ty(dtype), self.width)

    def first(self, count: ir.Value) -> ir.Value:
        """The mask of the first `count` lanes (count a scalar int32 or int64)."""
        bits = "int32" if count.type == _I32 else "int64"
        if bits == "int64" and self.width > 1:  # compare in 32 bits: half the registers; larger counts saturate
            most = constants.i64(self.width)
            count = self.builder.select(self.builder.icmp_signed("<", count, most), count, most)
            count, bits = self.builder.trunc(count, _I32), "int32"
        return self.lt(self.iota(bits), self.splat(count))

    def extract(self, value: ir.Value, lane: int | ir.Value) -> ir.Value:
        """One lane as a scalar."""
        if self.width == 1:
            return value
        return self.builder.extract_element(value, ir.Constant(_I32, lane) if isinstance(lane, int) else lane)

    def insert(self, value: ir.Value, scalar: ir.Value, lane: int | ir.Value) -> ir.Value:
        """`value` with one lane replaced."""
        if self.width == 1:
            return scalar
        return self.builder.insert_element(value, scalar, ir.Constant(_I32, lane) if isinstance(lane, int) else lane)

    def shuffle(self, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
        """Lanes picked from a (0 .. width-1) and b (width .. 2·width-1)."""
        return self.builder.shuffle_vector(a, b, constants.order(tuple(lanes)))

    # reductions over the lanes: halves are folded onto each other, so the order is fixed for every target

    def _fold(self, value: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
        if self.width == 1:
            return value
        while value.type.count > 1:
            low, high = self.split(value, value.type.count // 2)
            value = combine(low, high)
        return self.builder.extract_element(value, ir.Constant(_I32, 0))

    def reduce_sum(self, value: ir.Value) -> ir.Value:
        """The sum over the lanes, as a scalar."""
        return self._fold(value, self.add)

    def reduce_max(self, value: ir.Value) -> ir.Value:
        """The largest lane, as a scalar; NaN if any lane is NaN."""
        return self._fold(value, self.max)

    def reduce_min(self, value: ir.Value) -> ir.Value:
        """The smallest lane, as a scalar; NaN if any lane is NaN."""
        return self._fold(value, self.min)

    def reduce_or(self, mask: ir.Value) -> ir.Value:
        """True if any lane of the mask is true."""
        if self.width == 1:
            return mask
        bits = self.builder.bitcast(mask, ir.IntType(self.width))
        return self.builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    def reduce_and(self, mask: ir.Value) -> ir.Value:
        """True if every lane of the mask is true."""
        if self.width == 1:
            return mask
        bits = self.builder.bitcast(mask, ir.IntType(self.width))
        return self.builder.icmp_unsigned("==", bits, ir.Constant(bits.type, -1))
