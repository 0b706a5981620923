"""hessian_diag against second derivatives by mpmath, against products with the whole Hessian, and by its kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, DtypeError, UnsupportedError
from graphloss.schedule.kernel import Kernel

F, L = gl.nn.functional, gl.layers
Array = np.ndarray
RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
P = RNG.uniform(0.1, 0.9, (3, 4))
T = RNG.integers(0, 2, (3, 4)).astype(np.float64)
Q = P / P.sum(axis=1, keepdims=True)
W = RNG.uniform(0.5, 2.0, 4)
LABEL = np.array([1, 0, 3])
BOX = np.array([0.0, 0.0, 2.0, 2.0])
X3, LABEL3 = RNG.normal(size=(2, 4, 3)), RNG.integers(0, 4, (2, 3))


def elementwise(f: Callable[..., Any]) -> Callable[..., Any]:
    """Σ f(x_i, y_i, …): the sum over all elements; arguments broadcast."""

    def total(x: Array, *rest: Array) -> Any:
        arrays = np.broadcast_arrays(x, *rest)
        return mp.fsum(f(*values) for values in zip(*(a.ravel() for a in arrays), strict=True))

    return total


def softplus(z: Any) -> Any:
    return mp.log(1 + mp.exp(z))


def huber(d: float) -> Callable[..., Any]:
    return elementwise(lambda x, y: (x - y) ** 2 / 2 if abs(x - y) < d else d * (abs(x - y) - mp.mpf(d) / 2))


def log_softmax(row: Sequence[Any]) -> list[Any]:
    total = mp.log(mp.fsum(mp.exp(v) for v in row))
    return [v - total for v in row]


def cross_entropy(
    x: Array, y: Array, weight: Array | None = None, ignore: int = -100, smoothing: float = 0.0, mean: bool = True
) -> Any:
    """PyTorch's, of class labels, classes along axis 1."""
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    w = np.ones(x.shape[1]) if weight is None else weight
    total, count = mp.mpf(0), mp.mpf(0)
    for row, label in zip(rows, y.ravel(), strict=True):
        if label == ignore:
            continue
        lp = log_softmax(row)
        uniform = mp.fsum(wc * v for wc, v in zip(w, lp, strict=True)) / len(lp)
        total -= (1 - smoothing) * w[label] * lp[label] + smoothing * uniform
        count += w[label]
    return total / count if mean else total


def soft_cross_entropy(x: Array, q: Array, w: Array | None = None, smoothing: float = 0.0) -> Any:
    w = np.ones(x.shape[1]) if w is None else w
    total = mp.mpf(0)
    for row, target in zip(x, q, strict=True):
        for lp, t, wc in zip(log_softmax(row), target, w, strict=True):
            total -= wc * (t * (1 - smoothing) + smoothing / len(row)) * lp
    return total / len(x)


def z_cross_entropy(x: Array, y: Array) -> Any:
    z = mp.fsum(mp.log(mp.fsum(mp.exp(v) for v in row)) ** 2 for row in x) / len(x)
    return cross_entropy(x, y) + z / 10


def dice(p: Array, t: Array) -> Any:
    losses = [1 - 2 * mp.fsum(a * b for a, b in zip(p_, t_, strict=True)) / mp.fsum([*p_, *t_, mp.mpf("1e-5")])
              for p_, t_ in zip(p, t, strict=True)]  # fmt: skip
    return mp.fsum(losses) / len(losses)


def normalised(x: Array, y: Array) -> Any:
    return cross_entropy(np.array([[v / mp.sqrt(mp.fsum(u * u for u in row)) for v in row] for row in x]), y)


def second(f: Callable[..., Any], x: Array, rest: Sequence[Array]) -> Array:
    """∂²f/∂x_i², for each i."""
    out = np.zeros(x.shape)
    with mp.workdps(40):
        exact = np.vectorize(mp.mpf, otypes=[object])(x)
        for i in np.ndindex(*x.shape):

            def along(t: Any, i: tuple[int, ...] = i) -> Any:
                moved = exact.copy()
                moved[i] = t
                return f(moved, *rest)

            out[i] = float(mp.diff(along, exact[i], 2))
    return out


# name: (the loss over Variables, its formula, arguments)
FORMULAS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Array, ...]]] = {
    "mse sum": (lambda x, y: F.mse_loss(x, y, reduction="sum"), elementwise(lambda x, y: (x - y) ** 2), (X, Y)),
    "l1": (lambda x, y: F.l1_loss(x, y, reduction="sum"), elementwise(lambda x, y: abs(x - y)), (X, Y)),
    "smooth l1": (lambda x, y: F.smooth_l1_loss(x, y, reduction="sum", beta=0.7),
                  lambda x, y: huber(0.7)(x, y) / 0.7, (X, Y)),
    "huber": (lambda x, y: F.huber_loss(x, y, reduction="sum", delta=1.3), huber(1.3), (X, Y)),
    "log-cosh": (lambda x, y: L.reduce_sum(L.log((L.exp(x - y) + L.exp(y - x)) / 2.0)),
                 elementwise(lambda x, y: mp.log(mp.cosh(x - y))), (X, Y)),
    "softplus": (lambda x, y: F.soft_margin_loss(x, y, reduction="sum"), elementwise(lambda x, y: softplus(-x * y)),
                 (X, 2 * T - 1)),
    "bce logits": (lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="sum"),
                   elementwise(lambda z, t: t * softplus(-z) + (1 - t) * softplus(z)), (X, P)),
    "bce logits weighted": (
        lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, weight=w, pos_weight=w, reduction="sum"),
        elementwise(lambda z, t, w: w * (w * t * softplus(-z) + (1 - t) * softplus(z))), (X, T, W)),
    "bce": (lambda p, t: F.binary_cross_entropy(p, t, reduction="sum"),
            elementwise(lambda p, t: -t * mp.log(p) - (1 - t) * mp.log(1 - p)), (P, Q)),
    "bce of a sigmoid": (lambda x, t: F.binary_cross_entropy(L.sigmoid(x), t, reduction="sum"),
                         elementwise(lambda z, t: t * softplus(-z) + (1 - t) * softplus(z)), (X, T)),
    "poisson of a logarithm": (lambda x, y: F.poisson_nll_loss(x, y, reduction="sum"),
                               elementwise(lambda x, y: mp.exp(x) - y * x), (X, P)),
    "poisson": (lambda x, y: F.poisson_nll_loss(x, y, log_input=False, reduction="sum"),
                elementwise(lambda x, y: x - y * mp.log(x + mp.mpf(1e-8))), (P, T)),
    "gaussian": (lambda v, x, y: F.gaussian_nll_loss(x, y, v, reduction="sum"),
                 elementwise(lambda v, x, y: (mp.log(v) + (x - y) ** 2 / v) / 2), (P, X, Y)),
    "squared hinge": (lambda x, y: L.reduce_sum(L.square(L.relu(1.0 - x * y))),
                      elementwise(lambda x, y: max(0, 1 - x * y) ** 2), (X, 2 * T - 1)),
    "gelu and tanh": (lambda x: L.reduce_sum(L.gelu(x) * L.tanh(x)),
                      elementwise(lambda x: x * (1 + mp.erf(x / mp.sqrt(2))) / 2 * mp.tanh(x)), (X,)),
    "ce": (lambda x, y: F.cross_entropy(x, y), cross_entropy, (X, LABEL)),
    "ce weighted, an ignored row": (
        lambda x, y, w: F.cross_entropy(x, y, weight=w, ignore_index=0),
        lambda x, y, w: cross_entropy(x, y, w, ignore=0), (X, LABEL, W)),
    "ce smoothed and weighted": (
        lambda x, y, w: F.cross_entropy(x, y, weight=w, label_smoothing=0.2),
        lambda x, y, w: cross_entropy(x, y, w, smoothing=0.2), (X, LABEL, W)),
    "ce of K dimensions": (lambda x, y: F.cross_entropy(x, y), cross_entropy, (X3, LABEL3)),
    "ce of K dimensions, weighted": (
        lambda x, y, w: F.cross_entropy(x, y, weight=w, reduction="sum"),
        lambda x, y, w: cross_entropy(x, y, w, mean=False), (X3, LABEL3, W)),
    "ce soft": (lambda x, q: F.cross_entropy(x, q), soft_cross_entropy, (X, Q)),
    "ce soft, not normalised, smoothed, weighted": (
        lambda x, q, w: F.cross_entropy(x, q, weight=w, label_smoothing=0.1),
        lambda x, q, w: soft_cross_entropy(x, q, w, 0.1), (X, P, W)),
    "ce in Fluid": (lambda x, y: L.mean(L.softmax_with_cross_entropy(x, y)),
                    lambda x, y: cross_entropy(x, y[:, 0]), (X, LABEL[:, None])),
    "ce as written": (lambda x, q: -L.reduce_sum(q * L.log(L.exp(x) / L.reduce_sum(L.exp(x), 1, True))) / 3.0,
                      soft_cross_entropy, (X, Q)),
    "ce with temperature and cap": (lambda x, y: F.cross_entropy(3.0 * L.tanh(x / 2.0), y),
                                    lambda x, y: cross_entropy(3 * np.vectorize(mp.tanh)(x / 2), y), (X, LABEL)),
    "ce flattened": (lambda x, y: F.cross_entropy(L.reshape(L.transpose(x, [0, 2, 1]), [-1, 4]), L.reshape(y, [-1])),
                     cross_entropy, (X3, LABEL3)),
    "ce and z-loss": (lambda x, y: F.cross_entropy(x, y) + 0.1 * L.mean(L.square(L.log(L.reduce_sum(L.exp(x), 1)))),
                      z_cross_entropy, (X, LABEL)),
    "ce of normalised rows": (
        lambda x, y: F.cross_entropy(x / L.sqrt(L.reduce_sum(x * x, 1, True)), y), normalised, (X, LABEL)),
    "dice": (lambda p, t: L.mean(1.0 - 2.0 * L.reduce_sum(p * t, 1) / (L.reduce_sum(p + t, 1) + 1e-5)), dice, (P, T)),
    "root of a mean": (lambda x, y: L.sqrt(F.mse_loss(x, y)),
                       lambda x, y: mp.sqrt(elementwise(lambda a, b: (a - b) ** 2)(x, y) / x.size), (X, Y)),
    "a factor per column": (lambda w, x, y: F.mse_loss(w * x, y, reduction="sum"),
                            elementwise(lambda w, x, y: (w * x - y) ** 2), (W, X, Y)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_second_derivatives(name: str) -> None:
    loss, formula, (x, *rest) = FORMULAS[name]
    f = gl.compile(loss)
    want = second(formula, x, rest)
    got = f.hessian_diag()(x, *rest)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-11)
    single = f.hessian_diag()(*(a.astype(np.float32) if a.dtype == np.float64 else a for a in (x, *rest)))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, want, rtol=2e-4, atol=1e-5)


# Losses whose second derivatives mix rows in more ways; the whole Hessian is the reference.
OTHERS: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "focal of a softmax": (lambda x, q: -L.reduce_sum(q * (1 - L.softmax(x)) ** 2 * L.log(L.softmax(x))), (X, Q)),
    "focal of a sigmoid": (lambda x, t: L.reduce_sum(
        F.binary_cross_entropy_with_logits(x, t, reduction="none") * (t + (1 - 2 * t) * L.sigmoid(x)) ** 2), (X, T)),
    "one class of a softmax": (lambda x: L.mean(L.square(L.softmax(x)[:, 0])), (X,)),
    "brier": (lambda x, q: L.reduce_sum(L.square(L.softmax(x) - q)), (X, Q)),
    "entropy": (lambda x: L.reduce_sum(L.softmax(x) * F.log_softmax(2.0 * x, 1)), (X,)),
    "cosine": (lambda x, y: L.reduce_sum(F.cosine_similarity(x, y)), (X, Y)),
    "triplet": (F.triplet_margin_loss, (X, Y, P)),
    "unit rows": (lambda x, y: L.reduce_sum(F.normalize(x) * y), (X, Y)),
    "variance": (lambda x: L.reduce_sum(L.square(x - L.reduce_mean(x, dim=0, keep_dim=True))), (X,)),
    "square of the sum": (lambda x: L.square(L.reduce_sum(x)), (X,)),
    "square of the largest": (lambda x: L.reduce_sum(L.square(L.reduce_max(x, dim=1))), (X,)),
    "multi margin": (lambda x, y: F.multi_margin_loss(x, y, p=2), (X, LABEL)),
    "two columns": (lambda x, y: L.reduce_sum(L.square(x[:, 0] - y[:, 0]) * L.exp(x[:, 1])), (X, Y)),
    "two halves": (lambda x: L.reduce_sum(L.exp(2.0 * x[:, :2])) + L.reduce_sum(x[:, 2:] ** 3), (X,)),
    "a softmax of some columns": (lambda x, y: F.cross_entropy(x[:, 1:], y), (X, np.array([0, 2, 1]))),
    "boxes": (lambda x, y: gl.losses.giou_loss(x, y, reduction="sum"), (P + BOX, Q + BOX)),
    "a scale per row": (lambda s, x, y: F.cross_entropy(x * s, y), (P[:, :1], X, LABEL)),
    "axes exchanged": (lambda x, y: F.cross_entropy(L.transpose(x, [1, 0]), y), (X.T.copy(), LABEL)),
    "a sum over all after a softmax": (lambda x, y: L.square(L.reduce_sum(L.softmax(x) * y)), (X, Y)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_is_the_diagonal_of_the_hessian(name: str) -> None:
    loss, (x, *rest) = OTHERS[name]
    f = gl.compile(loss)
    product = f.hessp()
    want = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        unit = np.zeros_like(x)
        unit[i] = 1.0
        want[i] = product(unit, x, *rest)[i]
    np.testing.assert_allclose(f.hessian_diag()(x, *rest), want, rtol=1e-10, atol=1e-13)


# -- edges ------------------------------------------------------------------------------------------------------------


def test_extreme_logits_stay_exact() -> None:
    f = gl.compile(lambda x, y: F.cross_entropy(x, y, reduction="sum"))
    h = f.hessian_diag()(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [30.0, -30.0, 0.0]]), np.array([0, 1, 2]))
    np.testing.assert_array_equal(h[0], 0.0)
    np.testing.assert_allclose(h[1], 2 / 9)
    small = mp.exp(-30) / (1 + mp.exp(-30) + mp.exp(-60))
    np.testing.assert_allclose(h[2, 2], float(small * (1 - small)), rtol=1e-12)
    np.testing.assert_allclose(h[2, 0], float(small), atol=2e-16)


def test_ignored_row_of_nan_has_zeros() -> None:
    x = X.copy()
    x[1] = np.nan
    f = gl.compile(F.cross_entropy)
    h = f.hessian_diag()(x, np.array([1, -100, 3]))
    np.testing.assert_array_equal(h[1], 0.0)
    np.testing.assert_allclose(h[[0, 2]], f.hessian_diag()(X[[0, 2]], np.array([1, 3])), rtol=1e-12)


def test_untaken_branch_adds_nothing() -> None:
    f = gl.compile(lambda x: L.reduce_sum(L.where(x > 0.0, L.sqrt(x), L.square(x))))
    np.testing.assert_allclose(f.hessian_diag()(np.array([4.0, -1.0, 0.0])), [-1 / 32, 2.0, 2.0])


def test_empty_batch() -> None:
    f = gl.compile(F.cross_entropy)
    assert f.hessian_diag()(np.zeros((0, 4)), np.zeros(0, np.int64)).shape == (0, 4)


def test_compiled_without_passes() -> None:
    plain = gl.compile(options=gl.CompileOptions(passes=False))(F.cross_entropy)
    np.testing.assert_allclose(plain.hessian_diag()(X, LABEL), second(cross_entropy, X, [LABEL]), rtol=1e-8)


# -- in a program -----------------------------------------------------------------------------------------------------


def test_several_inputs_and_one_out_of_reach() -> None:
    with gl.program_guard(gl.Program()) as main, gl.unique_name.guard():
        main = gl.default_main_program()
        x, y, z = (gl.data(n, [None], "float64") for n in "xyz")
        loss = L.reduce_sum(L.exp(x) * y * y)
        found = gl.hessian_diag(loss, [x, y, z])
        assert found[2] is None
        assert gl.hessian_diag(loss, z) is None
        assert [v.name for v in found[:2]] == ["x@HESSIAN_DIAG", "y@HESSIAN_DIAG"]
        again = gl.hessian_diag(loss, x)
        assert again.name == "x@HESSIAN_DIAG_1"
    a, b = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    got = gl.Executor().run(main, {"x": a, "y": b}, [*found[:2], again])
    for h, want in zip(got, [np.exp(a) * b * b, 2 * np.exp(a), np.exp(a) * b * b], strict=True):
        np.testing.assert_allclose(h, want, rtol=1e-14)


def test_of_a_computed_value_and_constants() -> None:
    with gl.program_guard(gl.Program()), gl.unique_name.guard():
        main = gl.default_main_program()
        x = gl.data("x", [None, 4], "float64")
        z = x * 3.0
        loss = L.reduce_sum(L.square(L.exp(z)))
        wrt_z = gl.hessian_diag(loss, z)
        held = gl.hessian_diag(L.reduce_sum(z * z * x), x, no_grad_set=[z])
    h, k = gl.Executor().run(main, {"x": X}, [wrt_z, held])
    np.testing.assert_allclose(h, 4 * np.exp(6 * X), rtol=1e-13)
    np.testing.assert_array_equal(k, 0.0)


def test_gradient_of_a_diagonal() -> None:
    with gl.program_guard(gl.Program()), gl.unique_name.guard():
        main = gl.default_main_program()
        x = gl.data("x", [None], "float64")
        h = gl.hessian_diag(L.reduce_sum(L.exp(2.0 * x)), x)
        (third,) = gl.gradients([h], [x])
    (got,) = gl.Executor().run(main, {"x": X[0]}, [third])
    np.testing.assert_allclose(got, 8 * np.exp(2 * X[0]), rtol=1e-13)


def test_program_text_round_trip() -> None:
    with gl.program_guard(gl.Program()), gl.unique_name.guard():
        main = gl.default_main_program()
        x = gl.data("x", [None], "float64")
        h = gl.hessian_diag(L.reduce_sum(L.exp(x)), x)
    text = str(main)
    assert "jacobian_diag" in text
    copy = gl.Program.parse_from_string(text)
    assert str(copy) == text
    (got,) = gl.Executor().run(copy, {"x": X[0]}, [h.name])
    np.testing.assert_allclose(got, np.exp(X[0]), rtol=1e-13)


def test_wrong_arguments() -> None:
    with gl.program_guard(gl.Program()):
        x, i = gl.data("x", [None]), gl.data("i", [None], "int64")
        with pytest.raises(ArgumentTypeError, match="takes a loss"):
            gl.hessian_diag(3.0, x)  # type: ignore[call-overload]
        with pytest.raises(ArgumentTypeError, match="inputs holds something else"):
            gl.hessian_diag(x * x, 3.0)  # type: ignore[call-overload]
        with pytest.raises(DtypeError):
            gl.hessian_diag(i, x)


@pytest.mark.parametrize(
    ("loss", "args", "op", "why"),
    [
        (lambda x, w: L.reduce_sum(L.square(L.matmul(x, w))), (X, Y.T.copy()), "matmul", "neither elementwise nor"),
        (lambda x, i: L.reduce_sum(L.square(L.gather(x, i))), (X, LABEL[:2]), "gather", "neither elementwise nor"),
        (lambda b, x, y: F.cross_entropy(x + b, y), (W, X, LABEL), "softmax", "sums over x has weights of its own"),
        (lambda x: L.reduce_sum(x * x * L.transpose(x, [1, 0])), (X[:, :3],), "mul", "with its axes in another order"),
    ],
    ids=["matmul", "gather", "bias", "transpose"],
)  # fmt: skip
def test_refusal_says_why_and_where(loss: Callable[..., Any], args: tuple[Array, ...], op: str, why: str) -> None:
    f = gl.compile(loss)
    with pytest.raises(UnsupportedError) as caught:
        f.hessian_diag()(*args)
    text = str(caught.value)
    assert f"the diagonal of this Hessian has no form of its own: {op} mixes elements of it" in text
    assert why in text
    assert f"op: {op}" in text
    assert f"at: {__file__}:" in text
    assert "hint: products with the whole Hessian always exist" in text
    v = np.ones_like(args[0])
    assert f.hessp()(v, *args).shape == v.shape


# -- kernels ----------------------------------------------------------------------------------------------------------


def walks(kernels: Sequence[Kernel], name: str) -> list[Kernel]:
    """The kernels that read the argument `name`, or write a tensor; those that count labels do neither."""
    return [k for k in kernels if any(b.name == name or (len(b.shape) > 1 and b.role == "output") for b in k.buffers)]


@pytest.mark.parametrize(
    "name",
    ["mse sum", "l1", "smooth l1", "huber", "softplus", "bce logits", "bce logits weighted", "bce",
     "poisson of a logarithm", "ce", "ce weighted, an ignored row", "ce smoothed and weighted", "ce of K dimensions",
     "ce soft", "ce in Fluid", "ce and z-loss"],
)  # fmt: skip
def test_value_gradient_and_diagonal_are_one_kernel(name: str) -> None:
    loss, _, args = FORMULAS[name]
    f = gl.compile(loss).value_grad_hessian_diag()
    value, grad, h = f(*args)
    assert value.size == 1
    assert grad.shape == h.shape == args[0].shape
    kernels = f.explain().kernels
    (kernel,) = walks(kernels, next(iter(f.program.global_block().vars)))
    assert sum(b.role == "output" for b in kernel.buffers) == 2
