"""Packed sequences padded and packed again: values and gradients, eager as compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import IndexRangeError, ShapeError
from tests.losses.runners import RUNNERS

LENGTHS = ([2, 3], [0, 4, 0, 1], [5], [0, 0], [], [1] * 20)
CASES = [(lengths, runner) for lengths in LENGTHS for runner in RUNNERS]


def given(lengths: list[int], *rest: int) -> dict[str, Any]:
    x = np.random.default_rng(len(lengths)).normal(size=(sum(lengths), *rest))
    return {"x": x, "o": np.cumsum([0, *lengths])}


def padded_by_hand(x: np.ndarray, lengths: list[int], value: float) -> np.ndarray:
    out = np.full((len(lengths), max(lengths, default=0), *x.shape[1:]), value)
    begin = 0
    for s, n in enumerate(lengths):
        out[s, :n] = x[begin : begin + n]
        begin += n
    return out


@pytest.mark.parametrize(("lengths", "runner"), CASES)
@pytest.mark.parametrize("rest", [(), (3,), (2, 2)])
def test_padded(lengths: list[int], runner: str, rest: tuple[int, ...]) -> None:
    arrays = given(lengths, *rest)
    padded, _ = RUNNERS[runner](lambda x, o: ops.pad_sequences(x, o, -7.0)[0], arrays, [])
    np.testing.assert_array_equal(padded, padded_by_hand(arrays["x"], lengths, -7.0))
    found, _ = RUNNERS[runner](lambda x, o: ops.pad_sequences(x, o)[1] * 1, arrays, [])
    np.testing.assert_array_equal(found, lengths)


@pytest.mark.parametrize(("lengths", "runner"), CASES)
def test_there_and_back(lengths: list[int], runner: str) -> None:
    arrays = given(lengths, 3)

    def square(x: Any, o: Any) -> Any:
        padded, _ = ops.pad_sequences(x, o, np.inf)  # what is behind the end never matters
        return ops.pack_sequences(padded * padded, o, x.type.shape[0])

    value, (grad,) = RUNNERS[runner](square, arrays, ["x"])
    np.testing.assert_array_equal(value, arrays["x"] ** 2)
    np.testing.assert_array_equal(grad, 2 * arrays["x"])


@pytest.mark.parametrize(("lengths", "runner"), [c for c in CASES if 0 not in c[0] and c[0]])
def test_largest_of_each_sequence(lengths: list[int], runner: str) -> None:
    arrays = given(lengths, 2)
    value, (grad,) = RUNNERS[runner](
        lambda x, o: ops.reduce_max(ops.pad_sequences(x, o, -np.inf)[0], [1]), arrays, ["x"]
    )
    parts = np.split(arrays["x"], np.cumsum(lengths)[:-1])
    np.testing.assert_array_equal(value, [p.max(0) for p in parts])
    np.testing.assert_array_equal(grad, np.concatenate([p == p.max(0) for p in parts]))


@pytest.mark.parametrize(("lengths", "runner"), CASES)
def test_numbers(lengths: list[int], runner: str) -> None:
    arrays = given(lengths)
    found, _ = RUNNERS[runner](lambda x, o: ops.sequence_numbers(o, x.type.shape[0]) * 1, arrays, [])
    np.testing.assert_array_equal(found, np.repeat(np.arange(len(lengths)), lengths))


def test_one_program_for_all_lengths() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 2], "float64", lod_level=1)
        x.stop_gradient = False
        offsets = ops.offsets_of(x)
        padded, lengths = ops.pad_sequences(x, offsets)
        best = ops.reduce_sum(padded * padded, [1, 2])
        again = ops.pack_sequences(padded, offsets, x.type.shape[0])
        grad = gl.gradients(best, x)[0]
    assert (padded.shape, lengths.shape, best.shape) == ((-1, -1, 2), (-1,), (-1,))
    assert again.lod_level == 1
    exe = gl.Executor()
    assert str(gl.Program.parse_from_string(str(main))) == str(main)
    for n in LENGTHS:
        rows = given(n, 2)["x"]
        fed = {"x": gl.create_lod_tensor(rows, [n])}
        out = exe.run(main, fed, [padded, lengths, best, again, grad], return_numpy=False)
        np.testing.assert_array_equal(np.array(out[0]), padded_by_hand(rows, n, 0.0))
        np.testing.assert_array_equal(np.array(out[1]), n)
        np.testing.assert_allclose(np.array(out[2]), (padded_by_hand(rows, n, 0.0) ** 2).sum((1, 2)), rtol=1e-14)
        np.testing.assert_array_equal(np.array(out[3]), rows)
        np.testing.assert_array_equal(np.array(out[4]), 2 * rows)
        assert out[3].lod() == out[4].lod() == [np.cumsum([0, *n]).tolist()]


@pytest.mark.parametrize("runner", RUNNERS)
def test_steps_that_are_not_there(runner: str) -> None:
    arrays = {"p": np.zeros((2, 2, 1)), "o": np.array([0, 3, 4])}
    with pytest.raises(IndexRangeError):
        RUNNERS[runner](lambda p, o: ops.pack_sequences(p, o, 4), arrays, [])
    arrays["p"] = np.zeros((3, 3, 1))
    with pytest.raises(ShapeError):
        RUNNERS[runner](lambda p, o: ops.pack_sequences(p, o, 4), arrays, [])
