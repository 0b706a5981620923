"""The counter-based generator: published vectors, distribution, the same numbers for any shape."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import AttrError, DtypeError
from graphloss.ir.tensor import using
from graphloss.ops import philox
from tests.ops.at_once import NumpyMode, NumpyTensor


@pytest.mark.parametrize(
    ("counter", "key", "want"),
    [  # the known answers that come with the paper's library
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], want: tuple[int, ...]) -> None:
    words = philox.blocks(np.array([counter], np.uint64), key[0] | key[1] << 32)
    assert tuple(int(w) for w in words[0]) == want


def draw(kind: str, **attrs: object) -> np.ndarray:
    with using(NumpyMode()):
        out = getattr(ops, kind)(**attrs)
        assert isinstance(out, NumpyTensor)
        return out.array


@pytest.mark.parametrize("kind", ["uniform", "normal", "truncated_normal"])
def test_a_stream_does_not_depend_on_how_much_of_it_is_drawn(kind: str) -> None:
    whole = draw(kind, shape=(1001,), seed=5)
    np.testing.assert_array_equal(draw(kind, shape=(7, 11), seed=5).ravel(), whole[:77])
    np.testing.assert_array_equal(draw(kind, shape=(77,), seed=5, dtype="float64").astype(np.float32), whole[:77])
    assert not np.array_equal(draw(kind, shape=(77,), seed=6), whole[:77])
    with using(NumpyMode()):
        other = draw(kind, shape=(77,), seed=5, step=NumpyTensor(np.array(1)))
    assert not np.isin(other, whole).any()


@pytest.mark.parametrize("kind", ["uniform", "normal", "truncated_normal"])
def test_seed_0_draws_anew(kind: str) -> None:
    drawn = [draw(kind, shape=(50,)) for _ in range(3)]
    assert all(np.any(a != b) for a, b in ((drawn[0], drawn[1]), (drawn[1], drawn[2]), (drawn[0], drawn[2])))


def test_a_long_stream_is_that_of_its_words() -> None:
    n, wide = 20_001, np.uint64
    w = philox.words(2 * n, 11, 2**33).astype(wide).reshape(n, 2)
    want = ((w[:, 0] >> wide(5)) * wide(2**26) + (w[:, 1] >> wide(6))).astype(np.float64) / 2**53
    np.testing.assert_array_equal(philox.unit(n, 11, 2**33), want)


def test_uniform_distribution() -> None:
    x = draw("uniform", shape=(200_000,), low=-2.0, high=6.0, seed=1, dtype="float64")
    assert x.min() >= -2 and x.max() < 6
    assert abs(x.mean() - 2) < 4 * 8 / np.sqrt(12 * x.size)
    counts = np.histogram(x, 64, (-2, 6))[0]
    assert ((counts - x.size / 64) ** 2 / (x.size / 64)).sum() < 63 + 5 * np.sqrt(2 * 63)


def test_truncated_normal_distribution() -> None:
    x = draw("truncated_normal", shape=(200_000,), mean=1.0, std=2.0, seed=2, dtype="float64")
    z, normal = (x - 1) / 2, draw("normal", shape=(200_000,), seed=2, dtype="float64")
    assert np.abs(z).max() <= 2
    kept = np.abs(normal) <= 2
    np.testing.assert_allclose(z[kept], normal[kept], rtol=1e-15, atol=1e-15)
    inside = mpmath.erf(mpmath.sqrt(2))
    edges = [float(mpmath.erfinv(inside * (k - 32) / 32) * mpmath.sqrt(2)) for k in range(65)]
    counts = np.histogram(z, [-2, *edges[1:-1], 2])[0]  # 64 parts of equal probability
    assert ((counts - z.size / 64) ** 2 / (z.size / 64)).sum() < 63 + 5 * np.sqrt(2 * 63)


def test_uniform_never_rounds_to_its_end() -> None:
    x = draw("uniform", shape=(100_000,), low=1.0, high=np.float32(1 + 2**-22).item(), seed=3)
    assert x.max() < np.float32(1 + 2**-22)


def test_normal_distribution() -> None:
    x = draw("normal", shape=(200_000,), mean=1.0, std=2.0, seed=2, dtype="float64")
    z = (x - 1) / 2
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert abs((z[:-1] * z[1:]).mean()) < 4 / np.sqrt(n)


def test_parts_of_box_and_muller() -> None:
    u = philox.unit(300, 7, 0)
    with mpmath.workdps(40):
        log = [float(mpmath.log(mpmath.mpf(1 - v))) for v in u]
        cos = [float(mpmath.cos(2 * mpmath.pi * mpmath.mpf(v))) for v in u]
        sin = [float(mpmath.sin(2 * mpmath.pi * mpmath.mpf(v))) for v in u]
    np.testing.assert_allclose(philox._log(1 - u), log, rtol=3e-15, atol=1e-18)
    got = philox._turn(u)
    np.testing.assert_allclose(got[0], cos, atol=5e-16)
    np.testing.assert_allclose(got[1], sin, atol=5e-16)


def test_seeds_of_the_ops_of_a_program_differ() -> None:
    seeds = {philox.fold(s, n) for s in range(30) for n in range(30)}
    assert len(seeds) == 900 and all(0 <= s < 2**63 for s in seeds)


def test_wrong_attributes() -> None:
    with pytest.raises(AttrError, match="seed is out of range"):
        draw("uniform", shape=(2,), seed=-1)
    with pytest.raises(AttrError, match="low is above high"):
        draw("uniform", shape=(2,), low=2.0, high=1.0)
    with pytest.raises(DtypeError, match="float"):
        draw("normal", shape=(2,), dtype="int32")
