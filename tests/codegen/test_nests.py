"""Loop nests as machine code against their interpreter, those of all ops and random ones; their text and its parser."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from graphloss.codegen.target import Target
from graphloss.errors import ParseError, VerifyError
from graphloss.ir import loops
from graphloss.ir.loop_builder import NestBuilder
from graphloss.ir.loop_live import without
from graphloss.ir.loop_parser import parse_nest
from graphloss.ir.loop_text import print_nest
from graphloss.ir.loop_verify import verify_nest
from graphloss.ir.loops import Const, Nest, cast, const
from graphloss.ops.interpret import interpret
from tests.codegen.nest_runner import NativeNest, cases, shape_of
from tests.codegen.random_nests import random_nest

NESTS = {nest: op.name for op, nest, _, _ in cases()}


def test_ops_that_are_nests_are_among_the_cases() -> None:
    known = {"ctc", "linear_chain_crf", "crf_viterbi", "edit_distance", "scatter_add", "index_add"}
    assert known <= set(NESTS.values())


@pytest.mark.parametrize("nest", NESTS, ids=NESTS.values())
def test_text_is_parsed_back(nest: Nest) -> None:
    text = print_nest(nest)
    assert parse_nest(text) == nest
    verify_nest(nest)


@pytest.mark.parametrize("seed", range(60))
def test_random_nests(seed: int) -> None:
    """Text, machine code and interpreter agree, on sizes around a vector's."""
    dtype = ("float32", "float64")[seed % 2]
    nest = random_nest(seed, dtype)
    assert parse_nest(print_nest(nest)) == nest
    native = NativeNest(nest)
    rng = np.random.default_rng(seed)
    index = nest.array("index").dtype
    for n, t in ((1, 1), (2, 16), (3, 17), (40, int(rng.integers(2, 40))), (0, 5)):
        inputs = [rng.normal(size=(n, t)).astype(dtype), rng.integers(0, t + 3, (n, t)).astype(index)]
        sizes = {"N": n, "T": t}
        want, _ = interpret(nest, sizes, inputs, owners=True)
        got, _ = native.run(sizes, inputs)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-5)


def test_the_nests_of_all_ops() -> None:
    compiled: dict[Nest, NativeNest] = {}
    for op, nest, sizes, inputs in cases():
        want, failures = interpret(nest, sizes, inputs, owners=True)
        if nest not in compiled:
            compiled[nest] = NativeNest(nest)
        got, failed = compiled[nest].run(sizes, inputs)
        assert {f.name for f in failures} == set(failed), op.name
        for g, w in zip(got, want, strict=True):
            near = 1e-4 if g.dtype == np.float32 else 1e-10
            np.testing.assert_allclose(g, w, rtol=near, atol=near, err_msg=op.name)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="feature levels are those of x86-64")
def test_without_avx_512() -> None:
    """A target of narrower registers, and none with FMA, gives the same up to rounding."""
    for wanted in ("ctc", "linear_chain_crf", "index_add"):
        nest, sizes, inputs = next((n, s, i) for op, n, s, i in cases() if op.name == wanted)
        want, _ = NativeNest(nest).run(sizes, inputs)
        for level in ("sse2", "avx2"):
            got, _ = NativeNest(nest, Target.host(level)).run(sizes, inputs)
            for g, w in zip(got, want, strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


def test_checks_report_the_lowest_place_of_each() -> None:
    b = NestBuilder("checked")
    N, S = b.sizes("N", "S")
    x, out = b.input("x", "int32", (N, S)), b.output("out", "int32", (N, S))
    with b.parallel("n", N) as n, b.vector("s", 0, S) as s:
        value = b.let("value", x[n, s])
        out[n, s] = b.check("small", x, (n, s), value < 10, "less than 10, of {S}", value=value, other=-1)
    native = NativeNest(b.nest())
    data = np.arange(2 * 20, dtype=np.int32).reshape(2, 20) % 10
    data[1, 18], data[1, 3], data[0, 19] = 70, 60, 50
    (got,), failed = native.run({"N": 2, "S": 20}, [data])
    assert failed == {"small": (19, 50)}
    np.testing.assert_array_equal(got, np.where(data < 10, data, -1))
    _, failures = interpret(b.nest(), {"N": 2, "S": 20}, [data])
    assert failures[0].index == (0, 19) and failures[0].value == 50 and len(failures) == 3


def test_what_only_unwanted_outputs_need_is_dropped() -> None:
    nest = next(n for n, name in NESTS.items() if name == "linear_chain_crf")
    cost = without(nest, ["d_emission", "d_transition", "d_start", "d_end", "sequence"])
    verify_nest(cost)
    assert [a.name for a in cost.of_kind(loops.OUTPUT)] == ["cost"]
    assert len(print_nest(cost).splitlines()) < 0.7 * len(print_nest(nest).splitlines())
    assert _checks(cost) == _checks(nest)
    assert without(nest, []) == nest


def _checks(nest: Nest) -> list[str]:
    return [line.split()[1] for line in print_nest(nest).splitlines() if line.strip().startswith("check ")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nest a() {", "parallel index in extent"),
        ("nest a(N) {\n  in x: f32[N]\n  parallel n in N {\n    x[n] = f32(1.0)\n  }", "} of the nest"),
        ("nest a(N) {\n  in x: f31[N]\n  parallel n in N {\n  }\n}", "one of the dtypes"),
        ("nest a(N) {\n  out x: f32[N]\n  parallel n in N {\n    x[n] = 1.0\n  }\n}", "a number with its dtype"),
        ("nest a(N) {\n  out x: f32[N]\n  parallel n in N {\n    x[n] = y\n  }\n}", "an expression, not 'y'"),
        ("nest a(N) {\n  out x: f32[N]\n  parallel n in N {\n    x[n] = f32(n) + 1.0 +\n  }\n}", "an expression"),
        ("nest a(N) {\n  out x: f32[N]\n  parallel n in N {\n    y = f32(n)\n  }\n}", "a name that is defined"),
        ("nest a(N) {\n  out x: f32[N]\n  parallel n in N {\n    x[n] = f32(n) + n\n  }\n}", "operands that agree"),
        ("nest a(N) {\n  out x: f32[N]\n  parallel n in N {\n    x[n] = sinus(f32(n))\n  }\n}", "a function of the"),
        ("nest a(N) {\n  parallel n in N {\n    jump\n  }\n}", "a statement"),
        ("nest a(N) {\n  parallel n in N {\n  }\n}\nmore", "the end of the text"),
    ],
)  # fmt: skip
def test_text_that_is_no_nest(text: str, expected: str) -> None:
    with pytest.raises(ParseError, match=expected):
        parse_nest(text)


def broken(change: str) -> None:
    b = NestBuilder("broken")
    (N,) = b.sizes("N")
    x, out = b.input("x", "float32", (N,)), b.output("out", "float32", (N,))
    i, kept = b.input("i", "int64", (N,)), b.scratch("kept", "int64", (N,))
    with b.parallel("n", N) as n:
        total = b.var("total", const(0, "float32"))
        if change == "write":
            x[n] = 1.0
        elif change == "lanes":
            with b.vector("t", 0, N), b.vector("s", 0, N) as s:
                out[s] = 1.0
        elif change == "assign":
            with b.vector("t", 0, N) as t:
                b.assign(total, x[t])
        elif change == "bound":
            with b.vector("t", 0, N) as t, b.loop("s", 0, t) as s:
                out[s] = 1.0
        elif change == "sequential":
            b.accumulate(total, "sum", x[n])
        elif change == "scope":
            with b.loop("t", 0, N) as t:
                inner = b.let("inner", x[t])
            out[n] = inner
        elif change == "check":
            b.check("small", x, n, total < 1.0, "small", value=total)
        elif change == "reread":
            seen = b.let("seen", i[n])
            b.check("again", i, n, i[n] < N, "less", value=seen)
        elif change == "one":
            with b.vector("t", 0, N) as t:
                out[n] = x[t]
        elif change == "running":
            with b.vector("t", 0, N) as t:
                b.accumulate(total, "sum", x[t])
                out[t] = total
        elif change == "kinds":
            with b.vector("t", 0, N) as t:
                b.accumulate(total, "sum", x[t])
                b.accumulate(total, "max", x[t])
        elif change == "index":
            kept[n] = i[n] + 1
            out[n] = x[loops.minimum(kept[n], N - 1)]
        elif change == "end":
            with b.loop("t", 0, loops.maximum(loops.minimum(i[n], 3), -i[n])) as t:
                out[t] = x[t]
        elif change == "later":
            place = b.var("place", const(0, "int64"))
            with b.loop("t", 0, N) as t:
                out[place] = x[t]
                b.assign(place, cast(x[t], "int64"))
        elif change == "fine":
            place = b.let("place", loops.maximum(0, loops.minimum(N - 1, i[n])))
            chosen = b.let("chosen", loops.select(i[n] > 3, place, 0))
            out[place] = x[chosen]
            claimed = b.let("claimed", i[n])
            known = b.check("known", i, n, (claimed >= 0) & (claimed < N), "in range", value=claimed)
            out[n] = x[known]
        elif change == "twice":
            b.add(loops.Let("total", cast(x[n], "float64")))
    b.nest()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("write", "given, and written"), ("lanes", "stands in another one"), ("assign", "is assigned in it"),
        ("bound", "differs from lane to lane"), ("sequential", "from outside of a vector loop"),
        ("scope", "not defined here"), ("check", "is on float32"), ("twice", "defined twice"),
        ("reread", "it may change meanwhile"), ("one", "all lanes write one element of out"),
        ("running", "total is read in the vector loop"), ("kinds", "accumulates by max and by sum"),
        ("index", "an index of x comes from data"), ("end", "a bound of t comes from data"),
        ("later", "an index of out comes from data"),
    ],
)  # fmt: skip
def test_rules_of_the_language(change: str, why: str) -> None:
    with pytest.raises(VerifyError, match=why):
        broken(change)


def test_what_is_checked_or_between_two_numbers_may_be_an_index() -> None:
    broken("fine")


def test_comparisons_of_an_index_with_any_number() -> None:
    b = NestBuilder("compared")
    (N,) = b.sizes("N")
    x, out = b.input("x", "int64", (N,)), b.output("out", "int64", (N, N, 6))
    with b.parallel("n", N) as n:
        wild = b.let("wild", x[n])
        with b.vector("t", 0, N) as t:
            for k, order in enumerate((t < wild, t <= wild, t > wild, t >= wild, loops.equal(t, wild), wild < t)):
                out[n, t, k] = cast(order, "int64")
    data = np.array([2**63 - 1, -(2**63), 2**62, 3, 0, -1, 19, 20, 2**32, -(2**32), 16, 15, *range(8)], np.int64)
    want, _ = interpret(b.nest(), {"N": 20}, [data])
    (got,), _ = NativeNest(b.nest()).run({"N": 20}, [data])
    np.testing.assert_array_equal(got, want[0])


def test_an_access_that_leaves_its_array_is_seen() -> None:
    b = NestBuilder("outside")
    (N,) = b.sizes("N")
    x, out = b.input("x", "float32", (N,)), b.output("out", "float32", (N,))
    with b.parallel("n", N) as n:
        out[n] = x[n + 1]
    with pytest.raises(IndexError, match="x has 3 elements on axis 0, index 3"):
        interpret(b.nest(), {"N": 3}, [np.zeros(3, np.float32)])
    assert shape_of(b.nest().array("x"), {"N": 3}) == (3,)


@pytest.mark.parametrize("how", ["after", "before", "same", "scattered", "iterations", "scratch"])
def test_iterations_that_depend_on_each_other_are_seen(how: str) -> None:
    b = NestBuilder("dependent")
    (N,) = b.sizes("N")
    i, out = b.input("i", "int64", (N,)), b.output("out", "int64", (N, N))
    kept, row = b.scratch("kept", "int64", (N,)), b.shared("row", "int64", (N,))
    with b.parallel("n", N) as n:
        with b.vector("t", 0, N) as t:
            kept[t], out[n, t] = t, t
        if how == "iterations":
            row[loops.maximum(n - 1, 0)] = n
            row[n] = n
        with b.vector("t", 1, N) as t:
            if how == "after":
                kept[t] = kept[t - 1]
            elif how == "before":
                kept[t - 1] = kept[t]
            elif how == "same":
                out[n, t] = kept[0] + out[n, t]
                kept[t - 1] = 7
            elif how == "scattered":
                out[n, loops.maximum(loops.minimum(i[t], N - 1), 0)] = t
            else:
                kept[t] = kept[t] + kept[0]
    inputs = [np.array([0, 1, 1, 3])]
    interpret(b.nest(), {"N": 4}, inputs)
    if how == "scratch":
        interpret(b.nest(), {"N": 4}, inputs, owners=True)
        return
    with pytest.raises(RuntimeError, match=f"{'iterations' if how == 'iterations' else 'lanes'} touch elements of"):
        interpret(b.nest(), {"N": 4}, inputs, owners=True)


def test_sums_of_rows_are_the_same_in_any_number_of_parts() -> None:
    nest = next(n for n, name in NESTS.items() if name == "scatter_add" and n.array("out").dtype == "float32")
    native, rng = NativeNest(nest), np.random.default_rng(6)
    for rows in (0, 1, 3, 7):
        updates = rng.normal(size=(rows and 50, 5)).astype(np.float32)
        index = rng.integers(0, max(rows, 1), len(updates))
        want = np.zeros((rows, 5))
        np.add.at(want, index, updates)
        for parts in (1, 2, 3, 4):
            (got,), failed = native.run({"K": rows, "N": len(updates), "D": 5, "P": parts}, [index, updates])
            np.testing.assert_array_equal(got, want.astype(np.float32))
            assert not failed


def test_equal_numbers_print_alike() -> None:
    nan = Const(float("nan"), "float64")
    assert nan == Const(float("nan"), "float64") and hash(nan) == hash(Const(-float("nan"), "float64"))
    assert Const(0.0, "float64") != Const(-0.0, "float64")
    assert Const(1, "int64") != Const(1, "int32") and Const(1, "int64") != 1
