"""The worst error of the math library over every float32, or over many float64, by hand.

    python -m benchmarks.math_ulp exp log --level avx2 --chunks 0:64
    python -m benchmarks.math_ulp exp log --float64 40

float32: all 2^32 inputs in 256 chunks of 2^24, about two minutes per function; the reference is NumPy's float64
function, whose own error is below 1e-8 float32 ULP. float64: so many million random inputs, then the surroundings of
the worst ones, closer and closer, against NumPy's 80-bit function. Prints the worst input, and how many results are
not the nearest number.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.codegen.harness import compiled, ulps

CHUNK_BITS = 24
CHUNKS = 1 << (32 - CHUNK_BITS)
MILLION = 1_000_000
KEPT = 50  # worst inputs whose surroundings are searched
REFERENCES: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}  # fmt: skip


def errors(got: npt.NDArray[np.float32], want: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Errors in float32 ULP; 0 for the same infinity or NaN, infinite where only one of the two is finite."""
    rounded = want.astype(np.float32)
    exponent = np.frexp(want)[1]  # the ULP from the exponent of the exact value
    unit = np.ldexp(1.0, np.clip(exponent, -125, 128) - 24)
    error: npt.NDArray[np.float64] = np.abs(got - want) / unit
    odd = ~np.isfinite(error)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    error[odd] = np.where(same[odd], 0.0, np.inf)
    # beyond the largest float both roundings are right within half a unit
    error[np.isinf(rounded) & np.isinf(got)] = 0.0
    return error


def sweep(function: str, level: str, chunks: range) -> None:
    kernel = compiled(function, "float32", level=level)
    worst, where, value, missed, started = 0.0, 0.0, 0.0, 0, time.perf_counter()
    steps = np.arange(1 << CHUNK_BITS, dtype=np.uint32)
    with np.errstate(all="ignore"):
        for chunk in chunks:
            x = (steps + np.uint32(chunk << CHUNK_BITS)).view(np.float32)
            got = kernel(x)
            want = REFERENCES[function](x.astype(np.float64))
            error = errors(got, want)
            missed += int(np.count_nonzero(error > 0.5))
            i = int(error.argmax())
            if error[i] > worst:
                worst, where, value = float(error[i]), float(x[i]), float(got[i])
    count = len(chunks) << CHUNK_BITS
    print(
        f"{function:9} {level:5} worst {worst:.4f} ULP at {where!r} (got {value!r}); "
        f"{100 * missed / count:.2f} % not the nearest; {count:,} inputs in {time.perf_counter() - started:.0f} s"
    )


def float64_samples(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A million: of any bit pattern, of sizes from 1e-6 to 30, and uniform around 0."""
    third = MILLION // 3
    patterns = rng.integers(0, 1 << 64, third, dtype=np.uint64).view(np.float64)
    sizes = 10.0 ** rng.uniform(-6.0, 1.5, third) * rng.choice([-1.0, 1.0], third)
    return np.concatenate([patterns, sizes, rng.uniform(-2.5, 2.5, MILLION - 2 * third)])


def sample(function: str, level: str, millions: int) -> None:
    kernel, rng, started = compiled(function, "float64", level=level), np.random.default_rng(0), time.perf_counter()
    worst = np.empty((2, 0))  # errors and inputs
    missed = 0
    with np.errstate(all="ignore"):
        for step in range(millions + 8):
            if step < millions:
                x = float64_samples(rng)
            else:
                spread = 10.0 ** rng.uniform(-13, -2, (MILLION // KEPT, 1)) * rng.uniform(-1, 1, (MILLION // KEPT, 1))
                x = (worst[1] * (1 + spread)).ravel()
            error = ulps(kernel(x), REFERENCES[function](x.astype(np.longdouble)))
            missed += int(np.count_nonzero(error > 0.5)) if step < millions else 0
            top = np.argsort(error)[-KEPT:]
            worst = np.concatenate([worst, [error[top], x[top]]], axis=1)
            worst = worst[:, np.argsort(worst[0])[-KEPT:]]
    print(
        f"{function:9} {level:5} worst {worst[0, -1]:.4f} ULP at {float(worst[1, -1])!r} (float64); "
        f"{100 * missed / (millions * MILLION):.2f} % not the nearest; {time.perf_counter() - started:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", default=["exp", "log"], help=f"of {', '.join(REFERENCES)}")
    parser.add_argument("--level", default="host", help="host, avx512, avx2, sse4 or sse2")
    parser.add_argument("--chunks", default=f"0:{CHUNKS}", help=f"first:end of {CHUNKS}; float32 1.0 is in chunk 63")
    parser.add_argument("--float64", type=int, default=0, metavar="MILLIONS", help="so many million float64 instead")
    options = parser.parse_args()
    first, end = (int(part) for part in options.chunks.split(":"))
    for function in options.functions:
        if options.float64:
            sample(function, options.level, options.float64)
            continue
        sweep(function, options.level, range(first, min(end, CHUNKS)))


if __name__ == "__main__":
    main()
