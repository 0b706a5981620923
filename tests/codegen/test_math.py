"""The math library against wider references, on the host and on lesser targets."""

from __future__ import annotations

import re
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from llvmlite import ir
from mpmath import mp

from graphloss.codegen.math import FUNCTIONS, emit
from graphloss.codegen.math.coefficients import COEFFICIENTS, SPLIT
from graphloss.codegen.math.forms import form
from graphloss.codegen.math.remez import fit, split, splits, tasks
from graphloss.codegen.values import Lanes
from tests.codegen.harness import Array, Compiled, around, compiled, specials, stratified, ulps, uniform

LEVELS = ("host", "avx2", "sse2")
DTYPES = ("float32", "float64")


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# function: (80-bit reference, worst ULP in float32, in float64, and the same without FMA)
REFERENCES = {
    "exp": (np.exp, 0.80, 0.80, 0.79, 0.79),
    "exp2": (np.exp2, 0.96, 1.12, 1.24, 1.36),
    "expm1": (np.expm1, 1.18, 1.30, 1.18, 1.30),
    "log": (np.log, 0.78, 0.78, 0.70, 0.72),
    "log2": (np.log2, 0.95, 0.98, 1.20, 1.36),
    "log10": (np.log10, 0.89, 0.92, 1.12, 1.12),
    "log1p": (np.log1p, 0.77, 0.77, 0.72, 0.72),
    "sigmoid": (_sigmoid, 1.65, 1.65, 1.66, 1.70),
    "softplus": (_softplus, 1.37, 1.40, 1.46, 1.48),
    "tanh": (np.tanh, 1.03, 1.04, 1.00, 1.02),
    "sinh": (np.sinh, 1.65, 1.70, 1.65, 1.70),
    "cosh": (np.cosh, 1.30, 1.35, 1.17, 1.20),
    "asin": (np.arcsin, 2.00, 2.05, 2.00, 2.05),
    "acos": (np.arccos, 1.20, 1.20, 1.20, 1.20),
    "atan": (np.arctan, 1.95, 1.90, 1.95, 1.90),
    "sqrt": (np.sqrt, 0.5, 0.5, 0.5, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5, 1.5, 1.5, 1.5),
    "reciprocal": (lambda x: 1 / x, 0.5, 0.5, 0.5, 0.5),
    "sin": (np.sin, 0.501, 1.60, 0.501, 1.60),
    "cos": (np.cos, 0.501, 1.60, 0.501, 1.60),
    "tan": (np.tan, 0.501, 3.00, 0.501, 3.00),
}

# forms for some arguments only: those from a to b, and NaN; then as above
PARTS = {
    "exp_nonpositive": (np.exp, -np.inf, 0.0, 0.80, 0.80, 0.79, 0.79),
    "log1p_unit": (np.log1p, 0.0, 1.0, 0.82, 0.86, 0.84, 0.88),
}

# where the sweeps of benchmarks/math_ulp.py found the largest errors, now or in earlier forms of the functions
HARD = (
    -1.126297557109605, -1.1400078535079956, -0.29560720412810565, 1.4005280918605543e-06, 0.0007840096950531006,
    0.0784856379032135, 0.08616691536324395, 0.09957806020975113, 0.10512244701385498, 0.1433626902710124,
    0.4106094172933107, 0.4141445755958557, 0.6341795769578095, 0.66035, 0.700261491937593, 0.7008894084095,
    0.7058168691393473, 0.7064856816472925, 1.3205294618, 1.4083143422572546,
    0.16178032905071243, 0.2188132107257843, 0.9741192514230337, 1.1074450016021729, -1.1185700153024392,
    7.305117607116699, 7.308440208435059, 14.249244110316143, -21.77565932870398, 26.0513916015625, -87.66992950439453,
    1.7149423553158738, 2.7115429874845796, 37.144109,
)  # fmt: skip


def samples(dtype: str) -> Array:
    top = 110.0 if dtype == "float32" else 750.0
    parts = [stratified(dtype, 8), specials(dtype), uniform(dtype, -2, 2, 20000), uniform(dtype, -top, top, 20000)]
    parts += [*(around(dtype, c, 200) for c in (1.0, -1.0, 2.0)), *(around(dtype, c, 50) for c in HARD)]
    return np.concatenate([*parts, uniform(dtype, 0.6, 1.6, 10000)])


def check(got: Array, want: Array, bound: float, *arguments: Array, floor: float | Array = 0.0) -> None:
    """Errors within `bound` ULP, and the signs of zeros."""
    error = ulps(got, want, floor)
    worst = int(error.argmax())
    assert error[worst] <= bound, (
        f"{error[worst]:.4g} ULP at {[a[worst] for a in arguments]}: got {got[worst]!r}, not {want[worst]!r}"
    )
    zero = (got == 0) & (want == 0)
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", REFERENCES)
def test_accuracy(function: str, dtype: str, level: str) -> None:
    x = samples(dtype)
    reference, *bounds = REFERENCES[function]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.longdouble))
    bound = bounds[DTYPES.index(dtype) + 2 * (level == "sse2")]
    check(compiled(function, dtype, level=level)(x), want, bound, x)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", PARTS)
def test_accuracy_of_forms_for_some_arguments(function: str, dtype: str, level: str) -> None:
    reference, low, high, *bounds = PARTS[function]
    x = np.concatenate([samples(dtype), uniform(dtype, low if low == 0 else -2, high, 20000)])
    x = np.abs(x) if low == 0 else x
    x = x[((x >= low) & (x <= high)) | np.isnan(x)]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.longdouble))
    bound = bounds[DTYPES.index(dtype) + 2 * (level == "sse2")]
    check(compiled(function, dtype, level=level)(x), want, bound, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_known_of_an_argument_chooses_the_form(dtype: str, level: str) -> None:
    chosen: list[str] = []

    def chain(lanes: Lanes, x: ir.Value) -> ir.Value:
        chosen.extend(form(lanes, dtype, names) for names in (
            ("exp", "neg", "abs"), ("log1p", "exp", "neg", "abs"), ("exp", "abs", "neg"), ("log1p", "exp", "neg"),
            ("exp",), ("log1p", "exp"),
        ))  # fmt: skip
        return x

    Compiled(chain, (dtype,), dtype, 16, level)
    unit = "log1p_unit" if dtype == "float32" and level != "sse2" else "log1p"
    assert chosen == ["exp_nonpositive", unit, "exp", "log1p", "exp", "log1p"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["sin", "cos", "tan"])
def test_large_angles_are_reduced_exactly(function: str, dtype: str) -> None:
    multiples = (np.arange(1, 3000) * np.pi / 2).astype(dtype)  # closest to the zeros
    x = np.concatenate([multiples, stratified(dtype, 40)[: 40 * (255 if dtype == "float32" else 2047)]])
    with mp.workdps(400):
        chosen = np.concatenate([x[:50], x[x > 1e6][::37 if dtype == "float32" else 800]])
        exact = [getattr(mpmath, function)(mp.mpf(float(v))) for v in chosen]
    got = compiled(function, dtype)(chosen)
    check(got, np.array([_wide(v) for v in exact]), 3.0, chosen)


def _wide(value: mpmath.mpf) -> np.longdouble:
    high = float(value)
    if not np.isfinite(high):
        return np.longdouble(high)
    # what is left of a number near the smallest ones is itself below float64
    return np.longdouble(high) + np.ldexp(np.longdouble(float(mp.ldexp(value - high, 200))), -200)


def _lgamma(x: mpmath.mpf) -> mpmath.mpf:
    if abs(x) == mp.inf or (x <= 0 and x == mp.floor(x)):
        return mp.inf
    return mp.log(mp.pi / abs(mp.sinpi(x) * x)) - mp.loggamma(-x) if x < 0 else mp.loggamma(x)


def _digamma(x: mpmath.mpf) -> mpmath.mpf:
    if x == 0:
        return -mp.inf
    if x == mp.inf or x == -mp.inf or (x < 0 and x == mp.floor(x)):
        return mp.inf if x > 0 else mp.nan
    return mp.digamma(x)


def _reference(function: Callable[[mpmath.mpf], mpmath.mpf], x: Array) -> Array:
    with mp.workdps(40):
        return np.array([np.longdouble(np.nan) if np.isnan(v) else _wide(function(mp.mpf(float(v)))) for v in x])


# as HARD; and in terms of the smallest normal number, where parts of a product could be subnormal
ERF_HARD = (0.9853338003158569, 0.9917633460665282, 0.999215841293335, 0.9999417316022979, 1.057543650463433,
            1.059262752532959)  # fmt: skip
ERF_TINY = (1.01, 1.2847, 1.9, 30.0, 1e5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf(dtype: str) -> None:
    parts = [uniform(dtype, -7, 7, 3000), uniform(dtype, -1.2, 1.2, 2000), stratified(dtype, 2)[::7]]
    tiny = float(np.finfo(dtype).tiny)
    parts += [around(dtype, c, 20) for c in (*ERF_HARD, *(tiny * c for c in ERF_TINY))]
    x = np.concatenate([*parts, specials(dtype)])
    want = _reference(mp.erf, x)
    want[x == 0] = x[x == 0]
    for level in LEVELS:
        bounds = {"float32": (1.02, 1.02), "float64": (1.02, 0.96)}[dtype]
        check(compiled("erf", dtype, level=level)(x), want, bounds[level == "sse2"], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "exact"), [("lgamma", _lgamma), ("digamma", _digamma)])
def test_gamma_functions(function: str, exact: Callable[[mpmath.mpf], mpmath.mpf], dtype: str) -> None:
    """Relative for positive x. The mirror formula loses what cancels: there in ULP of the value at |x|."""
    positive = [uniform(dtype, 0, 10, 2500), uniform(dtype, 8, 300, 300), around(dtype, 1, 20), around(dtype, 2, 20)]
    values = stratified(dtype, 2)[1 : 4 * 255 : 3] if dtype == "float32" else stratified(dtype, 2)[1:4094:17]
    negative = [uniform(dtype, -40, 0, 1500), np.arange(-9, 20)]
    x = np.concatenate([*positive, values[values > 0], specials(dtype), *negative])
    x = x[~((x < -1e15) & np.isfinite(x))].astype(dtype)
    want = _reference(exact, x)
    if function == "digamma":
        want[(x == 0) & np.signbit(x)] = np.inf
    mirrored = _reference(exact, np.abs(x))
    mirrored = np.abs(mirrored)
    floor = np.where((x < 0) & (mirrored < 1e30), np.maximum(mirrored, 1), 0).astype(dtype)
    for level in LEVELS:
        bound = 0.51 if dtype == "float32" else 6.0
        check(compiled(function, dtype, level=level)(x), want, bound, x, floor=floor)


def _grid(dtype: str) -> tuple[Array, Array]:
    extra = np.array([-3, -2.5, 4, -4, 7, 1e10, -1e10, 2**24 + 1, 2**53], dtype)
    values = np.concatenate([specials(dtype), extra])
    first, second = (grid.ravel() for grid in np.meshgrid(values, values))
    return first, second


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pow(dtype: str, level: str) -> None:
    rng = np.random.default_rng(3)
    limit = np.log(np.float64(np.finfo(dtype).max))
    near_one = 1 + rng.uniform(-0.5, 0.5, 8000) / 10.0 ** rng.integers(0, 9, 8000)
    base = np.concatenate([np.abs(rng.choice(stratified(dtype, 4), 8000)), near_one]).astype(dtype)
    with np.errstate(all="ignore"):
        exponent = rng.uniform(-1.05, 1.05, base.size) * limit / np.log(base.astype(np.float64))
        exponent = exponent.astype(dtype)
    finite = np.isfinite(exponent)
    whole = np.round(uniform(dtype, -30, 30, 4000))
    edge_x, edge_y = _grid(dtype)
    x = np.concatenate([edge_x, base[finite], uniform(dtype, -20, 20, 4000)])
    y = np.concatenate([edge_y, exponent[finite], whole])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    got = compiled("pow", dtype, 2, level=level)(x, y)
    check(got, want, 0.51 if dtype == "float32" else 1.3, x, y)
    number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got)[number], np.signbit(want)[number])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_ldexp(dtype: str, level: str) -> None:
    limit = 252 if dtype == "float32" else 2044
    rng = np.random.default_rng(7)
    x = np.concatenate([specials(dtype), rng.choice(stratified(dtype, 8), 6000), uniform(dtype, 0.5, 4, 6000)])
    n = np.round(rng.uniform(-1.2 * limit, 1.2 * limit, x.size)).astype(dtype)
    n[::5] = np.round(rng.uniform(-20, 20, n[::5].size))
    n[::11], n[1::11] = -1e30, 1e30
    got = compiled("ldexp", dtype, 2, level=level)(x, n)
    with np.errstate(all="ignore"):
        cut, exact = (np.ldexp(x, np.clip(n, -most, most).astype(np.int32)) for most in (limit, 10**5))
    check(got, np.where((got == cut) | (np.isnan(got) & np.isnan(cut)), cut, exact), 0.0, x, n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.0, -2.0, 3.0, 4.0, 5.0])
def test_pow_of_a_constant(exponent: float, dtype: str) -> None:
    x = np.concatenate([specials(dtype), stratified(dtype, 4), uniform(dtype, -9, 9, 2000)])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), np.longdouble(exponent))
    kernel = Compiled(lambda lanes, v: emit(lanes, "pow", dtype, v, lanes.const(dtype, exponent)), (dtype,), dtype)
    got = kernel(x)
    check(got, want, 2.0, x)
    number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got)[number], np.signbit(want)[number])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "reference"), [("mod", np.mod), ("floor_mod", np.mod), ("floordiv", np.floor_divide)]
)
def test_floor_division(function: str, reference: np.ufunc, dtype: str, level: str) -> None:
    rng = np.random.default_rng(5)
    edge_a, edge_b = _grid(dtype)
    any_value = stratified(dtype, 4)
    a = np.concatenate([edge_a, rng.choice(any_value, 4000), uniform(dtype, -99, 99, 4000), np.arange(-50, 50)])
    b = np.concatenate([edge_b, rng.choice(any_value, 4000), uniform(dtype, -9, 9, 4000), np.tile([3, -3, 7, -7], 25)])
    a, b = a.astype(dtype), b.astype(dtype)
    with np.errstate(all="ignore"):
        want = reference(a, b)
    got = compiled(function, dtype, 2, level=level)(a, b)
    assert np.array_equal(got, want, equal_nan=True)
    number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got)[number], np.signbit(want)[number])


@pytest.mark.parametrize("level", [*LEVELS, "sse4"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "reference"),
    [("floor", np.floor), ("ceil", np.ceil), ("round", np.rint), ("trunc", np.trunc), ("abs", np.abs),
     ("sign", lambda x: np.where(x == 0, x, np.sign(x)))],
)  # fmt: skip
def test_exact_functions(function: str, reference: Callable[[Array], Array], dtype: str, level: str) -> None:
    halves = np.arange(-20, 20).astype(dtype) / 2
    x = np.concatenate([samples(dtype), halves, around(dtype, 2.0**23, 30), around(dtype, -(2.0**52), 30)])
    want = reference(x)
    kernel = compiled(function, dtype, level=level)
    got = kernel(x)
    assert np.array_equal(got, want, equal_nan=True)
    number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got)[number], np.signbit(want)[number])
    assert "call" not in kernel.assembly().split("kernel:")[1]  # no library call lane by lane


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "reference"), [("min", np.minimum), ("max", np.maximum)])
def test_min_max_keep_nan(function: str, reference: np.ufunc, dtype: str, level: str) -> None:
    values = specials(dtype)
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    assert np.array_equal(compiled(function, dtype, 2, level=level)(x, y), reference(x, y), equal_nan=True)
    for limit in (0.5, np.nan):

        def body(lanes: Lanes, v: ir.Value, limit: float = limit) -> ir.Value:
            return emit(lanes, function, dtype, v, lanes.const(dtype, limit))

        bounded = Compiled(body, (dtype,), dtype)
        assert np.array_equal(bounded(x), reference(x, np.array(limit, dtype)), equal_nan=True)


@pytest.mark.parametrize("width", [1, 4, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_gives_the_same_bits(dtype: str, width: int) -> None:
    x = np.concatenate([uniform(dtype, -5, 5, 300), specials(dtype)])
    for function in ("exp", "log", "log1p", "softplus", "tanh", "erf", "sin", "lgamma"):
        want = compiled(function, dtype)(x)
        got = compiled(function, dtype, width=width)(x)
        assert np.array_equal(got, want, equal_nan=True), function


def test_no_library_is_called() -> None:
    for function in sorted(FUNCTIONS):
        arguments = 2 if function in ("pow", "ldexp", "mod", "floor_mod", "floordiv", "min", "max") else 1
        for level in ("avx2", "sse2"):
            text = compiled(function, "float32", arguments, level=level).assembly()
            called = set(re.findall(r"(?:callq\s+|movabsq\s+\$)([A-Za-z_.][\w.]*)", text))
            assert all(name.startswith(("graphloss.", ".L")) for name in called), (function, level, called)


def test_every_function_has_a_test() -> None:
    others = {"floor", "ceil", "round", "trunc", "abs", "sign", "min", "max", "erf", "lgamma", "digamma", "pow"}
    assert set(REFERENCES) | set(PARTS) | others | {"mod", "floor_mod", "floordiv", "ldexp"} == FUNCTIONS


def test_coefficients_are_what_the_generator_makes() -> None:
    chosen = [task for task in tasks() if (task.name, task.dtype) in {("expm1", "float32"), ("tanh", "float32")}]
    assert len(chosen) == 2
    for task in chosen:
        assert tuple(fit(task)[0]) == COEFFICIENTS[task.name, task.dtype]
    assert {(task.name, task.dtype) for task in tasks()} == set(COEFFICIENTS)
    assert {(name, dtype): split(value, dtype, bits) for name, dtype, bits, value in splits()} == SPLIT
