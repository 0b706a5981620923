"""Learning to rank: which of two patients gets worse, learnt from pairs; pairwise losses against the pointwise one.

Data: scikit-learn's diabetes patients (Efron et al., 2004): 442, ten measurements each, and how far the disease went
within a year. What counts is the share of test pairs in the right order. All three losses do as well on the labels as
they are; then a tenth of the training labels is made far too large: that spoils values more than it spoils an order.

Run it as `python examples/ranking.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_diabetes

import graphloss as gl

T = gl.Tensor
Array = npt.NDArray[np.float64]

PAIRS, STEPS = 512, 400


def pointwise(left: T, right: T, left_y: T, right_y: T) -> T:
    """A regression of both patients' values."""
    return gl.layers.square_error_cost(left, left_y) + gl.layers.square_error_cost(right, right_y)


def rank(left: T, right: T, left_y: T, right_y: T) -> T:
    """RankNet: the cross entropy of "left is worse", the difference of the scores being the logit."""
    return gl.layers.rank_loss(gl.layers.cast(left_y > right_y, "float64"), left, right)


def margin_rank(left: T, right: T, left_y: T, right_y: T) -> T:
    """A hinge: the right order, by a margin."""
    worse = gl.layers.cast(left_y > right_y, "float64")
    return gl.layers.margin_rank_loss(2 * worse - 1, left, right, margin=1.0)


def in_order(score: Array, y: Array) -> float:
    """The share of all pairs of different patients that the scores put in the order of y."""
    i, j = np.triu_indices(len(y), 1)
    differ = y[i] != y[j]
    return float(((score[i] > score[j]) == (y[i] > y[j]))[differ].mean())


def train(loss_of: Callable[[T, T, T, T], T], x: Array, y: Array, unseen: Array) -> tuple[Array, float]:
    """Scores of the unseen patients, and the loss of the last pairs."""
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        sides = []
        for side in ("left", "right"):
            patient = gl.data(name=side, shape=[None, x.shape[1]], dtype="float64")
            # one set of weights, whichever side a patient is on
            weights = gl.ParamAttr(name="w", initializer=gl.initializer.Constant(0.0))
            sides.append(gl.layers.fc(patient, size=1, param_attr=weights, bias_attr=False))
        left_y, right_y = (gl.data(name=n, shape=[None, 1], dtype="float64") for n in ("left_y", "right_y"))
        loss = gl.layers.mean(loss_of(sides[0], sides[1], left_y, right_y))
        gl.optimizer.Adam(learning_rate=0.01).minimize(loss)
    exe, scope, rng = gl.Executor(gl.CPUPlace()), gl.Scope(), np.random.default_rng(6)
    exe.run(startup, scope=scope)
    for _ in range(STEPS):
        i, j = rng.integers(0, len(y), (2, PAIRS))
        keep = y[i] != y[j]
        i, j = i[keep], j[keep]
        feed = {"left": x[i], "right": x[j], "left_y": y[i, None], "right_y": y[j, None]}
        (value,) = exe.run(main, feed=feed, fetch_list=[loss], scope=scope)
    w = np.array(scope.var("w").get_tensor())
    return (unseen @ w)[:, 0], value.item()


def check_losses() -> None:
    """Both pairwise losses of one pair, by hand: scores 0.5 and 0.2, the left patient is worse."""
    pair = tuple(np.array([[v]]) for v in (0.5, 0.2, 1.0, 0.0))
    np.testing.assert_allclose(gl.compile(rank)(*pair), [[np.log1p(np.exp(-0.3))]], rtol=1e-12)
    np.testing.assert_allclose(gl.compile(margin_rank)(*pair), [[0.7]], rtol=1e-12)


def main() -> None:
    check_losses()
    x, y = load_diabetes(return_X_y=True)
    x, y = x / x.std(axis=0), (y - y.mean()) / y.std()
    rng = np.random.default_rng(0)
    test = rng.permutation(len(y)) % 3 == 0
    spoilt = y + 20 * (rng.random(len(y)) < 0.1)
    print(f"{(~test).sum()} patients to learn from, {test.sum()} to put in order")
    for what, labels in (("labels as they are", y), ("a tenth of the labels far too large", spoilt)):
        print(what)
        shares = []
        for loss in (pointwise, rank, margin_rank):
            score, value = train(loss, x[~test], labels[~test], x[test])
            shares.append(in_order(score, y[test]))
            print(f"  {loss.__name__:<12} {shares[-1]:.1%} of pairs in the right order, loss {value:.4f}")
        assert min(shares[1:]) > 0.74
    assert min(shares[1:]) > shares[0] + 0.03


if __name__ == "__main__":
    main()
