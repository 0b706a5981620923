"""The ruler itself: what counts as how many ULP."""

import numpy as np
import pytest

from tests.numerics import assert_ulp, ulp_error

F32 = np.finfo(np.float32)


@pytest.mark.parametrize(
    ("got", "want", "error"),
    [
        (np.float32(1.0), 1.0, 0.0),
        (np.float32(1.0) + F32.eps, 1.0, 1.0),
        (np.float32(0.1), 0.1, abs(float(np.float32(0.1)) - 0.1) / float(np.spacing(np.float32(0.1)))),
        (np.float32(0.0), 1e-45, 1e-45 / float(F32.smallest_subnormal)),
        (np.float32(np.nan), np.nan, 0.0),
        (np.float32(np.inf), np.inf, 0.0),
        (np.float32(np.inf), 1e39, 0.0),
        (np.float32(-np.inf), np.inf, np.inf),
        (np.float32(np.nan), 1.0, np.inf),
        (np.float32(1.0), np.nan, np.inf),
        (np.float32(np.inf), 1.0, np.inf),
        (F32.max, np.inf, np.inf),
        (np.float64(2.0) - np.finfo(np.float64).eps, 2.0, 0.5),
    ],
)
def test_scalar_errors(got: np.floating, want: float, error: float) -> None:
    assert float(ulp_error(got, want)) == pytest.approx(error, rel=1e-6)


def test_floor_makes_it_absolute() -> None:
    assert float(ulp_error(np.float32(2e-7), 1e-7, floor=1.0)) == pytest.approx(1e-7 / float(F32.eps), rel=1e-6)


def test_integers_have_no_ulp() -> None:
    with pytest.raises(TypeError, match="not of int64"):
        ulp_error(np.arange(3, dtype=np.int64), 1.0)


def test_assert_names_the_worst() -> None:
    got = np.array([[1.0, 2.0], [3.0, 4.5]], np.float32)
    with pytest.raises(AssertionError, match=r"1 of 4 elements .* at \(1, 1\): got np.float32\(4.5\)"):
        assert_ulp(got, np.array([[1.0, 2.0], [3.0, 4.0]]), 4)
    assert_ulp(got, got, 0)
    with pytest.raises(AssertionError, match="shape"):
        assert_ulp(got, got[0], 0)
