"""Decoders of CTC: greedy against paths collapsed by hand, beam search against all paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss.errors import AttrError, LabelError, ShapeError
from graphloss.nn import functional as F
from tests.structured.paths import paths

Array = npt.NDArray[Any]


def collapsed(path: Array, blank: int) -> list[int]:
    return [int(c) for t, c in enumerate(path) if c != blank and (t == 0 or c != path[t - 1])]


def greedy(x: Array, frames: Array, blank: int, padding: int = 0) -> dict[str, tuple[Array, Array]]:
    main = gl.Program()
    with gl.program_guard(main):
        given = gl.data("x", [None, None, x.shape[2]], x.dtype), gl.data("n", [None, 1], "int64")
        found = gl.layers.ctc_greedy_decoder(given[0], blank, given[1], padding)
    compiled = tuple(gl.Executor().run(main, {"x": x, "n": frames[:, None]}, list(found)))
    with gl.dygraph.guard():
        eager = gl.layers.ctc_greedy_decoder(
            gl.dygraph.to_variable(x), blank, gl.dygraph.to_variable(frames[:, None]), padding
        )
        return {"compiled": compiled, "eager": tuple(v.numpy() for v in eager)}


def test_fluids_example() -> None:
    rows = [
        [[0.6, 0.1, 0.3, 0.1], [0.3, 0.2, 0.4, 0.1], [0.1, 0.5, 0.1, 0.3], [0.5, 0.1, 0.3, 0.1]],
        [[0.5, 0.1, 0.3, 0.1], [0.2, 0.2, 0.2, 0.4], [0.2, 0.2, 0.1, 0.5], [0.5, 0.1, 0.3, 0.1]],
    ]
    for symbols, counts in greedy(np.array(rows), np.array([4, 4]), 0).values():
        assert symbols.tolist() == [[2, 1, 0, 0], [3, 0, 0, 0]]
        assert counts.tolist() == [[2], [1]]


def test_greedy_of_random_frames() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 9, 3)).astype(np.float32)
    frames = rng.integers(0, 10, 30)
    for blank in (0, 2):
        want = [collapsed(row[:n].argmax(1), blank) for row, n in zip(x, frames, strict=True)]
        for symbols, counts in greedy(x, frames, blank, -7).values():
            assert counts[:, 0].tolist() == [len(w) for w in want]
            assert symbols.tolist() == [w + [-7] * (9 - len(w)) for w in want]


def test_greedy_of_sequences() -> None:
    rng = np.random.default_rng(1)
    lengths = [4, 0, 1, 7, 3]
    rows = rng.normal(size=(sum(lengths), 3))
    main = gl.Program()
    with gl.program_guard(main):
        found = gl.layers.ctc_greedy_decoder(gl.data("x", [None, 3], "float64", lod_level=1), 0)
    parts = np.split(rows, np.cumsum(lengths)[:-1])
    want = [collapsed(p.argmax(1), 0) for p in parts]
    fed = gl.create_lod_tensor(rows, [lengths])
    (result,) = gl.Executor().run(main, {"x": fed}, [found], return_numpy=False)
    assert result.recursive_sequence_lengths() == [[len(w) for w in want]]
    assert np.array(result).tolist() == [[c] for w in want for c in w]
    (result,) = gl.Executor().run(
        main, {"x": gl.create_lod_tensor(np.eye(3)[[0, 0]], [[1, 1]])}, [found], return_numpy=False
    )
    assert np.array(result).shape == (0, 1) and result.lod() == [[0, 0, 0]]


def test_greedy_refuses() -> None:
    x = np.zeros((2, 3, 4))
    for wrong in (4, -1):
        with pytest.raises(LabelError):
            greedy(x, np.array([3, wrong]), 0)
    with pytest.raises(AttrError):
        greedy(x, np.array([3, 3]), 4)
    with gl.program_guard(gl.Program()), pytest.raises(ShapeError):
        gl.layers.ctc_greedy_decoder(gl.data("x", [2, 3, 4]), 0)


@pytest.mark.parametrize(("T", "C", "blank"), [(5, 3, 0), (4, 4, 3), (0, 2, 0), (3, 1, 0)])
def test_a_wide_beam_finds_the_labels_of_all_paths(T: int, C: int, blank: int) -> None:
    rng = np.random.default_rng(T)
    x = np.log(rng.dirichlet(np.ones(C), (T, 1)))
    table = {
        label: np.exp(x[np.arange(T), 0, rows].sum(1)).sum() if T else 1.0 for label, rows in paths(T, C, blank).items()
    }
    best = sorted(table.items(), key=lambda item: -item[1])[:4]
    main = gl.Program()
    with gl.program_guard(main):
        found = F.ctc_beam_search_decode(gl.data("x", [None, None, C], "float64"), (T,), blank, 400, 4)
    labels, sizes, log_p = gl.Executor().run(main, {"x": x}, list(found))
    for k in range(4):
        if k < len(best):
            assert tuple(labels[0, k, : sizes[0, k]]) == best[k][0]
            np.testing.assert_allclose(log_p[0, k], np.log(best[k][1]), atol=1e-12)
        else:
            assert sizes[0, k] == 0 and log_p[0, k] == -np.inf
        assert (labels[0, k, sizes[0, k] :] == -1).all()


def test_a_narrow_beam_is_a_batch_of_samples() -> None:
    rng = np.random.default_rng(3)
    x = np.log(rng.dirichlet(np.full(5, 0.3), (12, 4)))
    frames = np.array([12, 7, 0, 1])
    with gl.dygraph.guard():
        value = gl.dygraph.to_variable(x)
        labels, sizes, log_p = (v.numpy() for v in F.ctc_beam_search_decode(value, tuple(frames), 1, 8, 3))
        for n, t in enumerate(frames):
            alone = F.ctc_beam_search_decode(gl.dygraph.to_variable(x[:t, n]), int(t), 1, 8, 3)
            assert np.array_equal(alone[0].numpy(), labels[n, :, :t])
            assert np.array_equal(alone[1].numpy(), sizes[n])
            assert np.array_equal(alone[2].numpy(), log_p[n])
        for n in range(4):  # what it finds is no more probable than the loss says, and close to it
            label = labels[n, 0, : sizes[n, 0]]
            exact = -F.ctc_loss(
                gl.dygraph.to_variable(x[:, n]), gl.dygraph.to_variable(label), int(frames[n]), int(sizes[n, 0]), 1
            ).numpy() * max(sizes[n, 0], 1)
            assert exact - 0.5 < log_p[n, 0] <= exact + 1e-9


def test_beam_refuses() -> None:
    with gl.dygraph.guard():
        x = gl.dygraph.to_variable(np.zeros((3, 1, 4)))
        for options in ({"blank": 4}, {"top_paths": 11}, {"beam_width": 0}, {"beam_width": 2.5}):
            with pytest.raises(AttrError):
                F.ctc_beam_search_decode(x, (3,), **options)
        with pytest.raises(LabelError, match=r"row 0: .*\[0\] = 4 "):
            F.ctc_beam_search_decode(x, (4,))
        with pytest.raises(ShapeError):
            F.ctc_beam_search_decode(x, (3, 3))


def test_a_bad_length_of_a_beam_names_the_variable_and_the_place_in_the_program() -> None:
    with gl.program_guard(gl.Program()):
        found = F.ctc_beam_search_decode(gl.data("x", [4, 2, 3]), gl.data("n", [None], "int64"))
        for bad in (5, -1):
            with pytest.raises(LabelError, match=rf"(?s)row 1: n\[1\] = {bad} .*op: .*at: ") as error:
                gl.Executor().run(feed={"x": np.zeros((4, 2, 3), "f4"), "n": np.array([4, bad])}, fetch_list=found)
            assert error.value.expected == "an index in [0, 5)"
