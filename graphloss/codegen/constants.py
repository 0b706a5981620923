"""Constants of LLVM IR, each made and printed once: they belong to no module, and emission asks for few, but often."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from llvmlite import ir

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_KEPT: Final = 4096


class Splat(ir.Constant):  # type: ignore[misc]
    """A vector of one repeated constant; prints as LLVM's `splat`, so that the text does not grow with the width."""

    def __init__(self, typ: ir.VectorType, element: ir.Constant) -> None:
        super().__init__(typ, element)
        self.element = element

    def _get_reference(self) -> str:
        return f"splat ({self.element})"


class _Undefined(ir.Constant):  # type: ignore[misc]
    """Any value at all, in one word."""

    def __init__(self, typ: ir.Type) -> None:
        super().__init__(typ, ir.Undefined)

    def _get_reference(self) -> str:
        return "undef"


undefined = lru_cache(_KEPT)(_Undefined)
splat = lru_cache(_KEPT)(Splat)


@lru_cache(_KEPT)
def i64(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def number(typ: ir.Type, value: float | int | bool) -> ir.Constant:
    """A scalar constant."""
    return _number(typ, repr(value), value)  # -0.0 is equal to 0.0, and a NaN to nothing


@lru_cache(_KEPT)
def _number(typ: ir.Type, text: str, value: float | int | bool) -> ir.Constant:
    return ir.Constant(typ, value)


@lru_cache(_KEPT)
def iota(element: ir.Type, count: int) -> ir.Constant:
    """0, 1, 2, ..."""
    return ir.Constant(ir.VectorType(element, count), [ir.Constant(element, i) for i in range(count)])


@lru_cache(_KEPT)
def order(lanes: tuple[int, ...]) -> ir.Constant:
    """What a shuffle takes."""
    return ir.Constant(ir.VectorType(_I32, len(lanes)), [ir.Constant(_I32, lane) for lane in lanes])
