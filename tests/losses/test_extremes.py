"""Every public loss at extreme input: finite where the exact answer is, and no finite value has a NaN gradient."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pytest

import graphloss as gl
from tests.losses.extremes import CASES, Case
from tests.losses.runners import RUNNERS, Array, Runner, as_written

SHAPES = {"rows": (12, 4), "one row": (1, 4), "one class": (5, 1), "no rows": (0, 4)}

# No case above: these are layers around the losses, or have no gradient.
PLAIN = (
    "layers.center_loss layers.nce layers.hsigmoid layers.sampled_softmax_with_cross_entropy layers.linear_chain_crf "
    "F.linear_chain_crf layers.crf_decoding layers.ctc_greedy_decoder layers.edit_distance gluon.Loss "
    "gluon.SigmoidBinaryCrossEntropyLoss gluon.SoftmaxCrossEntropyLoss"
)


def arrays_of(case: Case, rows: int, classes: int, dtype: str) -> dict[str, Array]:
    """The same numbers in each type: those of float32."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    drawn = case.draw(rng, rows, classes)
    return {n: a.astype(np.float32).astype(dtype) if a.dtype.kind == "f" else a for n, a in drawn.items()}


def check_gradients(case: Case, rows: int, value: Array, grads: Sequence[Array]) -> None:
    """No NaN beside a finite value; of the same row, if there is a value for each."""
    own = value.ndim > 0 and value.shape[0] == rows > 1
    finite = np.isfinite(value.reshape(rows, -1)).all(1) if own else np.isfinite(value).all()
    for name, grad in zip(case.by, grads, strict=True):
        nan = np.isnan(grad)
        if own and rows in grad.shape:
            nan = np.moveaxis(nan, grad.shape.index(rows), 0).reshape(rows, -1).any(1) & finite
        else:
            nan &= np.all(finite)
        assert not nan.any(), f"NaN in the gradient by {name}, value {value}"


def may_be_infinite(case: Case, arrays: dict[str, Array]) -> bool:
    """A mean over ignored rows alone is 0/0, and a label that fits no alignment has probability 0."""
    ignored = any(a.size and a.dtype.kind == "i" and np.all(a == -100) for a in arrays.values())
    no_weight = "w" in arrays and case.name == "F.nll_loss"
    return ignored or no_weight or case.name == "F.ctc_loss" or not next(iter(arrays.values())).size


def check(case: Case, rows: int, classes: int, run: Runner, dtype: str) -> Array:
    arrays = arrays_of(case, rows, classes, dtype)
    value, grads = run(case.build, arrays, case.by)
    check_gradients(case, rows, value, grads)
    for name, grad in zip(case.by, grads, strict=True):
        assert grad.shape == arrays[name].shape
    if not may_be_infinite(case, arrays):
        assert np.isfinite(value).all(), value
    return value


def check_shape(case: Case, shape: str, dtype: str = "float32", exact: bool = True) -> None:
    rows, classes = SHAPES[shape]
    if classes < case.least:
        pytest.skip("it asks for more classes")
    compiled = check(case, rows, classes, RUNNERS["compiled"], dtype)
    eager = check(case, rows, classes, RUNNERS["eager"], dtype)
    # differences of numbers of 1e4 have an error of 1e-3 in float32
    np.testing.assert_allclose(compiled, eager, rtol=1e-3, atol=1e-3)
    if exact and dtype == "float32" and rows:
        want, _ = RUNNERS["compiled"](case.build, arrays_of(case, rows, classes, "float64"), ())
        np.testing.assert_allclose(compiled, want, rtol=1e-3, atol=1e-3)


EACH = list({c.name: c for c in reversed(CASES)}.values())  # the first case of each loss


FIRST = [c for c in CASES if c.first]


@pytest.mark.parametrize("case", FIRST, ids=[f"{i} {c.name}" for i, c in enumerate(FIRST)])
def test_extreme_values(case: Case) -> None:
    check_shape(case, "rows")


@pytest.mark.parametrize("shape", ["one class", "no rows"])
@pytest.mark.parametrize("case", EACH, ids=lambda c: c.name)
def test_degenerate_shapes(case: Case, shape: str) -> None:
    check_shape(case, shape, exact=False)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES, ids=[f"{i} {c.name}" for i, c in enumerate(CASES)])
def test_all_options(case: Case, shape: str, dtype: str) -> None:
    check_shape(case, shape, dtype)
    check(case, *SHAPES[shape], as_written, dtype)


IGNORING = [c for c in CASES if any(a.dtype.kind == "i" and (a == -100).any() for a in
            arrays_of(c, 12, 4, "float64").values())]  # fmt: skip


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("case", IGNORING, ids=[f"{i} {c.name}" for i, c in enumerate(IGNORING)])
def test_all_ignored(case: Case, run: Runner) -> None:
    arrays = arrays_of(case, 12, 4, "float32")
    ignored = {n: np.full_like(a, -100) if a.dtype.kind == "i" else a for n, a in arrays.items()}
    value, grads = run(case.build, ignored, case.by)
    assert np.all((value == 0) | (np.isnan(value) & (value.ndim == 0))), value  # 0/0 is the mean in PyTorch's manner
    for grad in grads:
        np.testing.assert_array_equal(grad, 0)


FIRST_IGNORING = [c for c in IGNORING if c.first]


@pytest.mark.parametrize("run", [*RUNNERS.values(), as_written], ids=[*RUNNERS, "as written"])
@pytest.mark.parametrize("case", FIRST_IGNORING, ids=[f"{i} {c.name}" for i, c in enumerate(FIRST_IGNORING)])
def test_ignored_rows_may_hold_anything(case: Case, run: Runner) -> None:
    """The features or scores of ignored rows, and of ignored pixels, are NaN."""
    arrays = arrays_of(case, 12, 4, "float64")
    label = next(a for a in arrays.values() if a.dtype.kind == "i")
    x = np.random.default_rng(5).uniform(0.1, 0.9, arrays[case.by[0]].shape)
    ignored = np.expand_dims(label == -100, 1) if x.ndim > label.ndim else label == -100
    value, grads = run(case.build, {**arrays, case.by[0]: x}, case.by)
    x = np.where(ignored, np.nan, x)
    again, poisoned = run(case.build, {**arrays, case.by[0]: x}, case.by)
    np.testing.assert_array_equal(again, value)
    for got, want in zip(poisoned, grads, strict=True):
        np.testing.assert_array_equal(got, want)


def test_every_public_loss_is_here() -> None:
    public = {
        *(f"layers.{n}" for n in gl.layers.__all__ if ".layers.loss" in getattr(gl.layers, n).__module__),
        *(f"F.{n}" for n in gl.nn.functional.__all__ if n.endswith("_loss") or n in ("kl_div", "linear_chain_crf")
          or "cross_entropy" in n),
        *(f"gluon.{n}" for n in gl.gluon.loss.__all__),
        *(f"dygraph.{n}" for n in gl.dygraph.__all__ if n.endswith("Loss")),
        *(f"losses.{n}" for n in gl.losses.__all__),
    }  # fmt: skip
    found = {c.name for c in CASES}
    assert public - found == set(PLAIN.split())
