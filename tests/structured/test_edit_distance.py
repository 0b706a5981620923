"""Edit distance: Fluid's examples, the definition by recursion, sequences, bad lengths."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss.errors import AttrError, DtypeError, LabelError, ShapeError, UnsupportedError
from graphloss.ir.opdef import get
from graphloss.ir.types import TensorType
from graphloss.ops.interpret import interpret

Array = npt.NDArray[Any]
HYPOTHESES = np.array([[1, 2, 3], [4, 5, 6], [4, 4, 4], [1, 1, 1]])
REFERENCES = np.array([[1, 3, 4, 1], [4, 5, 8, 1], [7, 7, 7, 1], [1, 1, 1, 1]])


def by_definition(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    @cache
    def d(i: int, j: int) -> int:
        if min(i, j) == 0:
            return max(i, j)
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return d(len(a), len(b))


def run(arrays: dict[str, Array], **options: Any) -> dict[str, tuple[Array, Array]]:
    """The layer on padded tokens, compiled and eager: (distance, number) by mode."""
    main = gl.Program()
    with gl.program_guard(main):
        given = {n: gl.data(n, [None] * a.ndim, a.dtype) for n, a in arrays.items()}
        found = gl.layers.edit_distance(**given, **options)
    compiled = tuple(gl.Executor().run(main, arrays, list(found)))
    with gl.dygraph.guard():
        eager = gl.layers.edit_distance(**{n: gl.dygraph.to_variable(a) for n, a in arrays.items()}, **options)
        return {"compiled": compiled, "eager": tuple(v.numpy() for v in eager)}


def padded(a: Array, b: Array, n: object = None, m: object = None) -> dict[str, Array]:
    n, m = (np.full(len(x), x.shape[1]) if v is None else np.array(v) for v, x in ((n, a), (m, b)))
    return {"input": a, "label": b, "input_length": n, "label_length": m}


def test_fluids_examples() -> None:
    for normalized, want in ((True, [0.75, 0.5, 1, 0.25]), (False, [3, 2, 4, 1])):
        for distance, number in run(padded(HYPOTHESES, REFERENCES), normalized=normalized).values():
            assert distance.dtype == np.float32 and distance[:, 0].tolist() == want
            assert number.tolist() == [4]


def test_random_tokens_against_the_recursion() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (40, 6)), rng.integers(0, 3, (40, 7)).astype(np.int32)
    n, m = rng.integers(0, 7, 40), rng.integers(0, 8, 40)
    for ignored in ((), (1,), (0, 2)):
        want = [
            by_definition(*(tuple(t for t in x[:k].tolist() if t not in ignored) for x, k in ((p, i), (q, j))))
            for p, q, i, j in zip(a, b, n, m, strict=True)
        ]
        arrays = padded(a, b, n, m)
        for distance, _ in run(arrays, normalized=False, ignored_tokens=ignored).values():
            assert distance[:, 0].tolist() == want
    op = get("edit_distance")
    attrs = op.complete({"normalized": False})
    form = op.lower([TensorType(x.dtype.name, x.shape) for x in arrays.values()], (), attrs)
    sizes = dict(zip(form.nest.sizes, form.sizes, strict=True))
    (distance,), failures = interpret(form.nest, sizes, list(arrays.values()))
    assert failures == ()
    assert np.array_equal(distance, op.reference(list(arrays.values()), attrs)[0])


def test_sequences() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        a, b = (gl.data(n, [None, 1], "int64", lod_level=1) for n in "ab")
        found = gl.layers.edit_distance(a, b, normalized=False)
    rows = (HYPOTHESES[0], REFERENCES[0, :0], HYPOTHESES[1]), (REFERENCES[0], REFERENCES[2, :2], REFERENCES[1])
    feed = {
        name: gl.create_lod_tensor(np.concatenate(r)[:, None], [[len(x) for x in r]])
        for name, r in zip("ab", rows, strict=True)
    }
    distance, number = (np.array(v) for v in gl.Executor().run(main, feed, list(found), return_numpy=False))
    assert distance[:, 0].tolist() == [3, 2, 2]
    assert number.tolist() == [3]


def test_bad_data_name_sample_and_place() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        arrays = padded(HYPOTHESES, REFERENCES)
        given = {n: gl.data(n, [None] * a.ndim, a.dtype) for n, a in arrays.items()}
        found = gl.layers.edit_distance(**given)
    executor = gl.Executor()
    rng = np.random.default_rng(1)
    for _ in range(200):
        bad = padded(HYPOTHESES, REFERENCES)
        name = str(rng.choice(["input_length", "label_length"]))
        n = int(rng.integers(4))
        wrong = int(rng.choice([-1, 5, 2**40, -(2**63), *([0] if name == "label_length" else [])]))
        bad[name][n] = wrong
        text = rf"row {n}: {name}\[{n}\] = {wrong} is out of range"
        with pytest.raises(LabelError, match=text):
            executor.run(main, bad, list(found))
        with gl.dygraph.guard(), pytest.raises(LabelError, match=text):
            gl.layers.edit_distance(**{k: gl.dygraph.to_variable(a) for k, a in bad.items()})
    with pytest.raises(LabelError, match="not ignored"):
        run(padded(np.array([[1]]), np.array([[2, 2]])), ignored_tokens=[2])


def test_wrong_arguments() -> None:
    with gl.program_guard(gl.Program()):
        a, b, n = gl.data("a", [2, 3], "int64"), gl.data("b", [2, 4], "int64"), gl.data("n", [2], "int64")
        x = gl.data("x", [2, 3], "float32")
        edit = gl.layers.edit_distance
        for error, arguments, options in (
            (DtypeError, (x, b), {"input_length": n, "label_length": n}),
            (AttrError, (a, b), {"input_length": n}),
            (UnsupportedError, (a, b), {}),
            (TypeError, (a, b), {"input_length": n, "label_length": n, "ignored_tokens": [1.5]}),
            (TypeError, (a, b), {"input_length": n, "label_length": n, "normalized": 1}),
            (ShapeError, (a, gl.data("c", [3, 4], "int64")), {"input_length": n, "label_length": n}),
        ):
            with pytest.raises(error):
                edit(*arguments, **options)
