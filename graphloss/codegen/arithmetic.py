"""Arithmetic on vectors of lanes: types, constants, operations, comparison, rounding, scaling, conversion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from llvmlite import ir

from graphloss.codegen import constants
from graphloss.codegen.constants import Splat
from graphloss.codegen.half import narrow, widen
from graphloss.codegen.target import Target
from graphloss.dtypes import HALVES

_SCALAR_TYPES: Final[dict[str, ir.Type]] = {
    "float32": ir.FloatType(), "float64": ir.DoubleType(), "bool": ir.IntType(1), "int8": ir.IntType(8),
    "uint8": ir.IntType(8), "int16": ir.IntType(16), "int32": ir.IntType(32), "int64": ir.IntType(64),
    "pointer": ir.PointerType(), "float16": ir.IntType(16), "bfloat16": ir.IntType(16),
}  # fmt: skip
_INTS: Final = ("int8", "int16", "int32", "int64", "uint8")


@dataclass(frozen=True)
class FloatFormat:
    """The layout of one IEEE format: mantissa bits, exponent bias, the integer type of the same size."""

    dtype: str
    bits: str
    mantissa: int
    bias: int

    @property
    def magic(self) -> float:
        """Added to |x| < 2^(mantissa-1), it leaves x rounded half to even in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    def bits_of(self, value: float) -> int:
        """The bit pattern of a power of two, or of any value exact in this format."""
        mantissa, exponent = math.frexp(value)
        return ((exponent - 1 + self.bias) << self.mantissa) + int((2.0 * mantissa - 1.0) * 2.0**self.mantissa)


FORMATS: Final = {
    "float32": FloatFormat("float32", "int32", 23, 127),
    "float64": FloatFormat("float64", "int64", 52, 1023),
}


def mangled(typ: ir.Type) -> str:
    """The type as it appears in the name of an intrinsic: v16f32, i32, p0."""
    if isinstance(typ, ir.VectorType):
        return f"v{typ.count}{mangled(typ.element)}"
    if isinstance(typ, ir.FloatType):
        return "f32"
    if isinstance(typ, ir.DoubleType):
        return "f64"
    if isinstance(typ, ir.PointerType):
        return "p0"
    return str(typ)


class LaneArithmetic:
    """`width` lanes side by side: values are `<width x T>` vectors, or plain scalars where width is 1.

    The dtype of a value is read off its LLVM type; integers are taken as signed unless a method says otherwise. A half
    is its 16 bits: it can be moved and converted, and nothing else.
    """

    def __init__(self, builder: ir.IRBuilder, module: ir.Module, width: int, target: Target) -> None:
        if width < 1 or width & (width - 1):
            raise ValueError(f"width must be a power of two, got {width}")
        self.builder = builder
        self.module = module
        self.width = width
        self.target = target
        self._types: dict[str, ir.Type] = {}

    # types and constants

    def scalar_ty(self, dtype: str) -> ir.Type:
        """The LLVM type of one element in a register (bool is i1)."""
        return _SCALAR_TYPES[dtype]

    def ty(self, dtype: str) -> ir.Type:
        """The LLVM type of all lanes of `dtype`."""
        if dtype not in self._types:
            scalar = _SCALAR_TYPES[dtype]
            self._types[dtype] = scalar if self.width == 1 else ir.VectorType(scalar, self.width)
        return self._types[dtype]

    def dtype_of(self, value: ir.Value) -> str:
        """The dtype of a value by its LLVM type; i8 counts as int8."""
        element = value.type.element if isinstance(value.type, ir.VectorType) else value.type
        return next(name for name, scalar in _SCALAR_TYPES.items() if scalar == element)

    def const(self, dtype: str, value: float | bool) -> ir.Constant:
        """The same constant in every lane."""
        plain = float(value) if dtype in FORMATS else int(value)
        if dtype == "bool":
            plain = bool(value)
        scalar = constants.number(_SCALAR_TYPES[dtype], plain)
        return scalar if self.width == 1 else constants.splat(self.ty(dtype), scalar)

    def constant_value(self, value: ir.Value) -> float | None:
        """The number a constant holds in every lane, None for anything else."""
        if isinstance(value, Splat):
            value = value.element
        if isinstance(value, ir.Constant) and isinstance(value.constant, (int, float)):
            return float(value.constant)
        return None

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A scalar value copied into every lane."""
        if self.width == 1:
            return scalar
        if isinstance(scalar, ir.Constant):
            return Splat(ir.VectorType(scalar.type, self.width), scalar)
        none = constants.undefined(ir.VectorType(scalar.type, self.width))
        first = self.builder.insert_element(none, scalar, constants.number(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, none, constants.order((0,) * self.width))

    def intrinsic(self, name: str, result: ir.Type, *args: ir.Value) -> ir.Value:
        """Call an LLVM intrinsic by its mangled name, declaring it on first use."""
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(result, [a.type for a in args]), name)
        return self.builder.call(function, args)

    def _unary(self, name: str, a: ir.Value) -> ir.Value:
        return self.intrinsic(f"llvm.{name}.{mangled(a.type)}", a.type, a)

    # arithmetic

    def is_float(self, value: ir.Value) -> bool:
        element = value.type.element if isinstance(value.type, ir.VectorType) else value.type
        return isinstance(element, (ir.FloatType, ir.DoubleType))

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b) if self.is_float(a) else self.builder.add(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b) if self.is_float(a) else self.builder.sub(a, b)

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fmul(a, b) if self.is_float(a) else self.builder.mul(a, b)

    def div(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a / b; for integers the signed quotient rounded towards zero (the caller excludes b = 0)."""
        return self.builder.fdiv(a, b) if self.is_float(a) else self.builder.sdiv(a, b)

    def rem(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The signed integer remainder that goes with `div`."""
        return self.builder.srem(a, b)

    def neg(self, a: ir.Value) -> ir.Value:
        return self.builder.fneg(a) if self.is_float(a) else self.builder.neg(a)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a·b + c, rounded once where the target has the instruction and twice elsewhere."""
        if self.is_float(a) and self.target.has_fma:
            return self.intrinsic(f"llvm.fma.{mangled(a.type)}", a.type, a, b, c)
        return self.add(self.mul(a, b), c)

    def abs(self, a: ir.Value) -> ir.Value:
        if self.is_float(a):
            return self._unary("fabs", a)
        return self.select(self.lt(a, self.const(self.dtype_of(a), 0)), self.neg(a), a)

    def sqrt(self, a: ir.Value) -> ir.Value:
        return self._unary("sqrt", a)

    def copysign(self, magnitude: ir.Value, sign: ir.Value) -> ir.Value:
        return self.intrinsic(f"llvm.copysign.{mangled(sign.type)}", sign.type, magnitude, sign)

    # comparison, selection, masks

    def _compare(self, op: str, a: ir.Value, b: ir.Value) -> ir.Value:
        if self.is_float(a):
            return self.builder.fcmp_unordered(op, a, b) if op == "!=" else self.builder.fcmp_ordered(op, a, b)
        return self.builder.icmp_signed(op, a, b)

    def lt(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a < b; false where either is NaN, as all comparisons but `ne`."""
        return self._compare("<", a, b)

    def le(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._compare("<=", a, b)

    def gt(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._compare(">", a, b)

    def ge(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._compare(">=", a, b)

    def eq(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._compare("==", a, b)

    def ne(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a ≠ b; true where either is NaN."""
        return self._compare("!=", a, b)

    def ult(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a < b of unsigned integers: one compare for `0 <= a < b`."""
        return self.builder.icmp_unsigned("<", a, b)

    def isnan(self, a: ir.Value) -> ir.Value:
        return self.builder.fcmp_unordered("uno", a, a)

    def select(self, mask: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """a where the mask is true, else b."""
        return self.builder.select(mask, a, b)

    def min(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The smaller; NaN where either is NaN."""
        return self._extreme("<", a, b)

    def max(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger; NaN where either is NaN."""
        return self._extreme(">", a, b)

    def _extreme(self, op: str, a: ir.Value, b: ir.Value) -> ir.Value:
        # `select(a < b, a, b)` is one instruction on x86 and gives b where either is NaN: right unless a is the NaN,
        # so a constant goes first and only two variables need the second compare.
        if self.constant_value(b) is not None:
            a, b = b, a
        best = self.select(self._compare(op, a, b), a, b)
        known = self.constant_value(a)
        if not self.is_float(a) or (known is not None and not math.isnan(known)):
            return best
        return self.select(self.isnan(a), a, best)

    def and_(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.and_(a, b)

    def or_(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.or_(a, b)

    def xor(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.xor(a, b)

    def not_(self, a: ir.Value) -> ir.Value:
        dtype = self.dtype_of(a)
        return self.builder.xor(a, self.const(dtype, 1 if dtype == "bool" else -1))

    def _shift(self, a: ir.Value, count: int | ir.Value) -> ir.Value:
        return self.const(self.dtype_of(a), count) if isinstance(count, int) else count

    def shl(self, a: ir.Value, count: int | ir.Value) -> ir.Value:
        return self.builder.shl(a, self._shift(a, count))

    def lshr(self, a: ir.Value, count: int | ir.Value) -> ir.Value:
        return self.builder.lshr(a, self._shift(a, count))

    def ashr(self, a: ir.Value, count: int | ir.Value) -> ir.Value:
        return self.builder.ashr(a, self._shift(a, count))

    # rounding and scaling

    def floor(self, a: ir.Value) -> ir.Value:
        return self._unary("floor", a) if self.target.has_round else self._stepped(a, "floor")

    def ceil(self, a: ir.Value) -> ir.Value:
        return self._unary("ceil", a) if self.target.has_round else self._stepped(a, "ceil")

    def trunc(self, a: ir.Value) -> ir.Value:
        """Rounded towards zero."""
        return self._unary("trunc", a) if self.target.has_round else self._stepped(a, "trunc")

    def round(self, a: ir.Value) -> ir.Value:
        """Rounded to the nearest integer, halves to the even one."""
        return self._unary("rint", a) if self.target.has_round else self._stepped(a, "rint")

    def _stepped(self, a: ir.Value, how: str) -> ir.Value:
        # Without a rounding instruction LLVM calls libm lane by lane. Adding 2^mantissa rounds the magnitude to the
        # nearest integer; one step back corrects the direction. Values from 2^mantissa up are integers already.
        dtype = self.dtype_of(a)
        big, one = self.const(dtype, 2.0 ** FORMATS[dtype].mantissa), self.const(dtype, 1.0)
        size = self.abs(a)
        near = self.sub(self.add(size, big), big)
        zero = self.const(dtype, 0.0)
        if how == "trunc":
            near = self.sub(near, self.select(self.gt(near, size), one, zero))
        elif how != "rint":
            near = self.copysign(near, a)
            if how == "floor":
                near = self.sub(near, self.select(self.gt(near, a), one, zero))
            else:
                near = self.add(near, self.select(self.lt(near, a), one, zero))
        return self.select(self.lt(size, big), self.copysign(near, a), a)

    def power_of_two(self, n: ir.Value) -> ir.Value:
        """2^n for integral float n, where 2^n is a normal number."""
        form = FORMATS[self.dtype_of(n)]
        shifted = self.bitcast(self.add(n, self.const(form.dtype, form.magic + form.bias)), form.bits)
        return self.bitcast(self.shl(shifted, form.mantissa), form.dtype)

    def scale_normal(self, x: ir.Value, n: ir.Value) -> ir.Value:
        """x·2^n for integral float n, where 2^n is a normal number."""
        if self.target.has_ldexp:
            return self._scalef(x, n, FORMATS[self.dtype_of(x)])
        return self.mul(x, self.power_of_two(n))

    def scale(self, x: ir.Value, n: ir.Value) -> ir.Value:
        """x·2^n for integral float n, rounded once even where the result is subnormal; |n| at most 2·bias."""
        form = FORMATS[self.dtype_of(x)]
        if self.target.has_ldexp:
            return self._scalef(x, n, form)
        magic = self.const(form.dtype, form.magic)
        first = self.sub(self.fma(n, self.const(form.dtype, 0.5), magic), magic)
        second = self.sub(n, first)
        return self.mul(self.mul(x, self.power_of_two(first)), self.power_of_two(second))

    def scales_any(self, dtype: str) -> bool:
        """Whether `scale` is right for any n."""
        return self.target.has_ldexp and self.width >= (16 if dtype == "float32" else 8)

    def _scalef(self, x: ir.Value, n: ir.Value, form: FloatFormat) -> ir.Value:
        lanes = 16 if form.dtype == "float32" else 8
        if self.width < lanes:
            i32 = self.ty("int32")
            return self.intrinsic(
                f"llvm.ldexp.{mangled(x.type)}.{mangled(i32)}", x.type, x, self.builder.fptosi(n, i32)
            )
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if lanes == 16 else 'd'}.512"
        mask, rounding = ir.Constant(ir.IntType(lanes), -1), ir.Constant(ir.IntType(32), 4)  # 4: the current mode
        parts = [
            self.intrinsic(name, px.type, px, pn, px, mask, rounding)
            for px, pn in zip(self.split(x, lanes), self.split(n, lanes), strict=True)
        ]
        return self.join(parts)

    def split(self, value: ir.Value, lanes: int) -> list[ir.Value]:
        """A vector cut into vectors of `lanes` lanes."""
        count = value.type.count
        if count == lanes:
            return [value]
        none = constants.undefined(value.type)
        starts = range(0, count, lanes)
        return [self.builder.shuffle_vector(value, none, constants.order(tuple(range(s, s + lanes)))) for s in starts]

    def join(self, parts: list[ir.Value]) -> ir.Value:
        """Vectors of equal length laid end to end; their number is a power of two."""
        while len(parts) > 1:
            count = 2 * parts[0].type.count
            order = constants.order(tuple(range(count)))
            parts = [self.builder.shuffle_vector(a, b, order) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    # conversion

    def bitcast(self, value: ir.Value, dtype: str) -> ir.Value:
        """The same bits read as another dtype of the same size."""
        return self.builder.bitcast(value, self.ty(dtype))

    def sitofp(self, value: ir.Value, dtype: str) -> ir.Value:
        return self.builder.sitofp(value, self.ty(dtype))

    def fptosi(self, value: ir.Value, dtype: str) -> ir.Value:
        """Rounded towards zero; the result is unspecified where it does not fit."""
        return self.builder.fptosi(value, self.ty(dtype))

    def convert(self, value: ir.Value, source: str, dtype: str) -> ir.Value:
        """`value` of dtype `source` as `dtype`, with NumPy's meaning of `astype`."""
        if source == dtype:
            return value
        if source in HALVES:
            return self.convert(widen(self, value, source), "float32", dtype)
        if dtype in HALVES:
            return narrow(self, value if source in FORMATS else self.convert(value, source, "float32"), dtype)
        if dtype == "bool":
            return self.ne(value, self.const(source, 0))
        if source == "bool":
            return self.select(value, self.const(dtype, 1), self.const(dtype, 0))
        typ = self.ty(dtype)
        if source in FORMATS and dtype in FORMATS:
            return self.builder.fpext(value, typ) if dtype == "float64" else self.builder.fptrunc(value, typ)
        if source in FORMATS:
            return self.convert(self.fptosi(value, "int32"), "int32", dtype) if dtype in ("int8", "uint8", "int16") \
                else self.fptosi(value, dtype)  # fmt: skip
        if dtype in FORMATS:
            wide = self.convert(value, source, "int32") if source == "uint8" else value
            return self.sitofp(wide, dtype)
        bits = {"int8": 8, "uint8": 8, "int16": 16, "int32": 32, "int64": 64}
        if bits[dtype] == bits[source]:
            return value
        if bits[dtype] < bits[source]:
            return self.builder.trunc(value, typ)
        return self.builder.zext(value, typ) if source == "uint8" else self.builder.sext(value, typ)
