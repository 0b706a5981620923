"""Comparison of floating-point arrays in units in the last place (ULP)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ulp_error(got: npt.ArrayLike, want: npt.ArrayLike, floor: float = 0.0) -> npt.NDArray[np.float64]:
    """Error of each element of ``got``, in units in the last place of its own dtype at the size of ``want``.

    ``want`` is the reference, as a rule in a wider type. NaN for NaN and an infinity for the same infinity (also where
    ``want`` is finite but rounds to it) are no error; every other mix with a non-finite value is an infinite one.
    ``floor`` is the least size at which an ULP is taken: 1.0 makes the measure an absolute error below one.

    Args:
        got: float array of any shape.
        want: array that broadcasts to it.

    Example:
        >>> float(ulp_error(np.float32(1) + np.spacing(np.float32(1)), 1.0))
        1.0
    """
    got = np.asarray(got)
    if got.dtype.kind != "f":
        raise TypeError(f"ULP are of a float array, not of {got.dtype}")
    want = np.broadcast_to(np.asarray(want, dtype=np.longdouble), got.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = want.astype(got.dtype)
        size = np.maximum(np.abs(want), np.longdouble(max(floor, float(np.finfo(got.dtype).smallest_normal))))
        largest = np.finfo(got.dtype).max
        unit = np.spacing(np.minimum(size, largest).astype(got.dtype)).astype(np.longdouble)
        error = np.abs(got.astype(np.longdouble) - want) / unit
        same = (got == rounded) & ~np.isfinite(got) | np.isnan(got) & np.isnan(want)
        # The larger neighbour of the largest float is as far away as one more step would be.
        error = np.where(np.isfinite(got) & np.isfinite(want), error, np.inf)
    return np.where(same, 0.0, error).astype(np.float64)


def assert_ulp(got: npt.ArrayLike, want: npt.ArrayLike, bound: float, floor: float = 0.0) -> None:
    """Fail unless each element of ``got`` is within ``bound`` ULP of ``want``; the message names the worst."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    error = ulp_error(got, want, floor)
    if error.size == 0 or float(error.max()) <= bound:
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
    bad = int(np.count_nonzero(error > bound))
    raise AssertionError(
        f"{bad} of {error.size} elements are off by more than {bound} ULP; worst {error[index]:.4g} ULP at {index}: "
        f"got {got[index]!r}, expected {want[index]!r}"
    )
