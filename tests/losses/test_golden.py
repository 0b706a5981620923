"""The worked examples of the losses, value and gradient, in each dialect, eager and compiled."""

from __future__ import annotations

import numpy as np
import pytest

from tests.losses import golden, golden_fluid, golden_nn
from tests.losses.golden import EXAMPLES, Case
from tests.losses.runners import RUNNERS, compiled

CASES = [*golden.CASES, *golden_nn.CASES, *golden_fluid.CASES]

# The examples are printed to 7 decimals; those of extreme size come out of float32 constants.
TOLERANCE = {"float64": 1e-7, "float32": 1e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_worked_example(case: Case, runner: str, dtype: str) -> None:
    by = tuple(case.grads)
    value, grads = RUNNERS[runner](case.build, case.arrays(dtype), by)
    assert value.dtype == dtype
    tolerance = TOLERANCE[dtype]
    want = case.result(case.value)
    np.testing.assert_allclose(value.reshape(want.shape), want, rtol=tolerance, atol=tolerance)
    for name, got in zip(by, grads, strict=True):
        assert got.dtype == dtype
        want = case.result(case.grads[name])
        np.testing.assert_allclose(got.reshape(want.shape), want, rtol=tolerance, atol=tolerance, err_msg=f"by {name}")


def has_batch_in_front(case: Case) -> bool:
    """Whether the first dimension of all inputs is one batch of more than one row."""
    shared = {a.shape[:1] for a in case.arrays("float64").values()}
    return len(shared) == 1 and not shared & {(), (1,)}


@pytest.mark.parametrize("case", [c for c in CASES if c.grads and has_batch_in_front(c)], ids=lambda c: c.id)
def test_worked_example_with_free_batch(case: Case) -> None:
    arrays = case.arrays("float64")
    value, grads = compiled(case.build, arrays, tuple(case.grads), free=True)
    want = case.result(case.value)
    np.testing.assert_allclose(value.reshape(want.shape), want, rtol=1e-7, atol=1e-7)
    for name, got in zip(case.grads, grads, strict=True):
        want = case.result(case.grads[name])
        np.testing.assert_allclose(got.reshape(want.shape), want, rtol=1e-7, atol=1e-7, err_msg=f"by {name}")


# Examples of other files, where their losses have parameters, state or lengths.
ELSEWHERE = (
    "center nce_uniform nce_logu nce_custom nce_alias hsig4 hsig3 hsig_doc hsig_custom sampled_softmax crf crf_pad ctc "
    "ctc_rep ctc_last ctc_batch adaptive"
)


def test_every_example_is_checked() -> None:
    assert set(EXAMPLES) == {c.key for c in CASES} | set(ELSEWHERE.split())


def test_every_result_of_an_example_is_checked() -> None:
    """What the cases leave out of the examples they use; so a result cannot be forgotten."""
    unused = {}
    for key in {c.key for c in CASES}:
        used = {c.value for c in CASES if c.key == key} | {g for c in CASES if c.key == key for g in c.grads.values()}
        left = set(EXAMPLES[key]["results"]) - used
        if left:
            unused[key] = left
    assert unused == {
        "nll": {"total_weight"},
        "nll_w": {"total_weight"},
        "nll_w_ign": {"total_weight"},
        "cosine_gluon": {"2.0 out (N,)"},  # Gluon's own later form; not offered
        "gluon_poisson": {"2.0 out (N,)"},
        "sdml": {"2.0 (row means)"},
    }
