"""Random classes: their frequencies by chi-square, alias tables, draws without repetition, streams."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import AttrError, DtypeError, ShapeError, ValueRangeError
from graphloss.ir.tensor import using
from graphloss.ops import philox
from tests.ops.at_once import NumpyMode, NumpyTensor


def draw(kind: str, *operands: np.ndarray, **attrs: object) -> np.ndarray:
    with using(NumpyMode()):
        out = getattr(ops, kind)(*[NumpyTensor(x) for x in operands], **attrs)
        assert isinstance(out, NumpyTensor)
        return out.array


def assert_frequencies(drawn: np.ndarray, p: np.ndarray) -> None:
    """Pearson's statistic, of mean k and variance 2k for k + 1 classes, within 5 standard deviations."""
    counts = np.bincount(drawn.ravel(), minlength=len(p))
    assert not counts[p == 0].any()
    seen = p > 0
    want = p[seen] * drawn.size
    assert want.min() > 20
    free = seen.sum() - 1
    assert abs(((counts[seen] - want) ** 2 / want).sum() - free) < 5 * np.sqrt(2 * free)


def log_uniform(n: int) -> np.ndarray:
    return np.log1p(1 / np.arange(1, n + 1)) / np.log(n + 1)


@pytest.mark.parametrize("classes", [2, 7, 1000])
def test_uniform_frequencies(classes: int) -> None:
    assert_frequencies(draw("sample_uniform", shape=(200_000,), range=classes, seed=3), np.full(classes, 1 / classes))


@pytest.mark.parametrize("classes", [2, 7, 1000])
def test_log_uniform_frequencies(classes: int) -> None:
    p = log_uniform(classes)
    assert abs(p.sum() - 1) < 1e-12
    assert_frequencies(draw("sample_log_uniform", shape=(200_000,), range=classes, seed=4), p)


@pytest.mark.parametrize(
    "p", [[0.05, 0.5, 0.1, 0.3, 0.05], [0.25] * 4, [1.0], [0.0, 0.7, 0.0, 0.3], list(np.arange(1, 101) / 5050)]
)
def test_custom_frequencies(p: list[float]) -> None:
    drawn = draw("sample_alias", *ops.alias_table(p), shape=(400, 500), seed=5)
    if len(p) > 1:
        assert_frequencies(drawn, np.array(p))
    else:
        assert not drawn.any()


def test_alias_table_of_the_worked_example() -> None:
    own, other = ops.alias_table([0.05, 0.5, 0.1, 0.3, 0.05])
    np.testing.assert_allclose(own, [0.25, 1, 0.5, 1, 0.25], rtol=1e-15)
    assert other.tolist() == [1, -1, 3, -1, 1]


def test_alias_tables_hold_the_distribution() -> None:
    rng = np.random.default_rng(0)
    for k in (1, 2, 3, 10, 1000):
        p = rng.dirichlet(np.full(k, 0.3))
        own, other = ops.alias_table(p)
        held = own.copy()
        np.add.at(held, other[other >= 0], 1 - own[other >= 0])
        np.testing.assert_allclose(held / k, p, atol=1e-12)


def test_draws_without_repetition() -> None:
    with using(NumpyMode()):
        for seed in range(1, 30):
            for count, classes in ((0, 3), (1, 1), (5, 5), (20, 1000), (40, 50)):
                got, tries = (t.array for t in ops.sample_log_uniform_unique(count, classes, seed))
                drawn = philox.log_uniform(int(tries), seed, 0, classes)  # the same stream, repetitions and all
                assert len(set(got.tolist())) == count
                assert got.tolist() == list(dict.fromkeys(drawn.tolist()))
                assert tries == 0 or drawn[-1] not in drawn[:-1]


def test_the_first_draw_without_repetition_is_log_uniform_the_second_conditional() -> None:
    p, n = log_uniform(4), 2000
    with using(NumpyMode()):
        pairs = [ops.sample_log_uniform_unique(2, 4, seed)[0].array for seed in range(1, n + 1)]
    both = np.zeros((4, 4))
    for a, b in pairs:
        both[a, b] += 1
    want = p[:, None] * p / (1 - p[:, None]) * n
    np.fill_diagonal(want, 0)
    apart = want > 0
    assert abs(((both - want)[apart] ** 2 / want[apart]).sum() - 11) < 5 * np.sqrt(22)


@pytest.mark.parametrize("kind", ["sample_uniform", "sample_log_uniform"])
def test_a_stream_does_not_depend_on_how_much_of_it_is_drawn(kind: str) -> None:
    whole = draw(kind, shape=(1001,), range=10**9, seed=5)
    np.testing.assert_array_equal(draw(kind, shape=(7, 11), range=10**9, seed=5).ravel(), whole[:77])
    assert not np.array_equal(draw(kind, shape=(77,), range=10**9, seed=6), whole[:77])
    with using(NumpyMode()):
        other = getattr(ops, kind)((77,), 10**9, 5, NumpyTensor(np.array(1)))
    assert not np.array_equal(other.array, whole[:77])
    drawn = [draw(kind, shape=(20,), range=10**9) for _ in range(2)]
    assert not np.array_equal(*drawn)  # seed 0


def test_known_draws() -> None:
    """What a seed means must not change, nor differ between machines."""
    assert draw("sample_uniform", shape=(8,), range=1000, seed=1).tolist() == UNIFORM
    assert draw("sample_log_uniform", shape=(8,), range=1000, seed=1).tolist() == LOG_UNIFORM
    assert draw("sample_alias", *ops.alias_table([0.1, 0.2, 0.3, 0.4]), shape=(8,), seed=1).tolist() == ALIAS


UNIFORM = [890, 585, 671, 475, 247, 713, 757, 143]
LOG_UNIFORM = [467, 56, 102, 25, 4, 136, 186, 1]
ALIAS = [3, 2, 2, 3, 2, 0, 1, 1]


def test_the_exponential_of_the_sampler() -> None:
    x = np.linspace(0, 22, 501)
    with mpmath.workdps(30):
        want = [float(mpmath.exp(mpmath.mpf(v))) for v in x]
    np.testing.assert_allclose(philox._exp(x), want, rtol=5e-16)


def test_wrong_attributes() -> None:
    with pytest.raises(AttrError, match="seed is out of range"):
        draw("sample_uniform", shape=(2,), range=3, seed=-1)
    for n in (0, -1, 2**53):
        with pytest.raises(AttrError, match="number of classes"):
            draw("sample_log_uniform", shape=(2,), range=n)
    with pytest.raises(AttrError, match="more different classes"):
        ops.sample_log_uniform_unique(4, 3)
    with pytest.raises(DtypeError, match="float"):
        draw("sample_alias", np.array([1]), np.array([-1]), shape=(2,))
    with pytest.raises(ShapeError, match="two vectors"):
        draw("sample_alias", np.array([[1.0]]), np.array([-1]), shape=(2,))
    with pytest.raises(ValueRangeError, match="names a class"):
        draw("sample_alias", np.array([0.5, 1.0]), np.array([2, -1]), shape=(2,))
