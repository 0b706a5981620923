"""What code generation must know of a processor: its name, its features, and which instructions may be used."""

from __future__ import annotations

from dataclasses import dataclass

import llvmlite.binding as llvm

# Feature levels of the x86-64 psABI, used to compile for less than the machine has.
_X86_LEVELS = {"sse2": "x86-64", "sse4": "x86-64-v2", "avx2": "x86-64-v3", "avx512": "x86-64-v4"}


@dataclass(frozen=True)
class Target:
    """A processor to emit code for.

    `has_fma`: a fused multiply-add is one instruction (otherwise it would be a library call).
    `has_ldexp`: scaling a vector by powers of two is one instruction (AVX-512).
    `has_round`: rounding to an integral float is one instruction (SSE4.1 and later; not SSE2).
    `has_half`: conversion between float16 and float32 is one instruction (otherwise it would be a library call).
    """

    name: str
    cpu: str
    features: str
    has_fma: bool
    has_ldexp: bool
    vector_bytes: int = 64
    has_round: bool = True
    has_half: bool = False

    @classmethod
    def host(cls, level: str | None = None) -> Target:
        """The machine this runs on, or, on x86-64, only what `level` ("sse2", "sse4", "avx2", "avx512") promises."""
        triple = llvm.get_process_triple()
        is_x86 = triple.startswith(("x86_64", "amd64"))
        if level is not None:
            if not is_x86 or level not in _X86_LEVELS:
                raise ValueError(f"no feature level {level!r} on {triple}; expected one of {', '.join(_X86_LEVELS)}")
            wide = level in ("avx2", "avx512")
            return cls(
                triple, _X86_LEVELS[level], "", wide, level == "avx512", has_round=level != "sse2", has_half=wide
            )
        features = llvm.get_host_cpu_features()
        if is_x86:
            used = ("fma", "avx512f", "sse4.1", "f16c")
            fma, ldexp, rounding, half = (bool(features.get(f, False)) for f in used)
        else:  # AArch64, POWER, RISC-V with D: fused multiply-add and rounding are in the base instruction set
            fma, ldexp, rounding, half = True, False, True, triple.startswith(("aarch64", "arm64"))
        name = llvm.get_host_cpu_name()
        return cls(triple, name, features.flatten(), fma, ldexp, has_round=rounding, has_half=half)
