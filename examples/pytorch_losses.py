"""The losses of two PyTorch texts, slides and a tutorial, under PyTorch's names, with the numbers they ought to print.

The tutorial prints 0.1763 for its cross entropy, 0.2824 for its BCE, 0.3750 and 0.5000 for its MSE and L1. The right
numbers are 0.1640, 0.2407, 0.5625 and 0.6250.

Run it as `python examples/pytorch_losses.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl
from graphloss import nn
from graphloss.nn import functional as F

Array = npt.NDArray[Any]
tensor = gl.dygraph.to_variable


def show(what: str, loss: gl.Tensor, want: float, note: str = "") -> None:
    """Prints an eager value that must be `want`."""
    np.testing.assert_allclose(loss.item(), want, rtol=1e-6, atol=1e-7, err_msg=what)
    print(f"  {what:<40} {loss.item():.4f}{note}")


def tutorial_classification() -> None:
    print("tutorial, classification")
    predictions = np.array([[2.0, 0.5, 0.3], [0.1, 3.0, 0.2], [0.2, 0.1, 4.0]])
    targets = np.array([0, 1, 2])
    x, y = tensor(predictions), tensor(targets)
    x.stop_gradient = False
    loss = nn.CrossEntropyLoss()(x, y)
    show("CrossEntropyLoss", loss, 0.163982497, "   (the tutorial: 0.1763)")
    loss.backward()  # (softmax - onehot) / N
    p = np.exp(predictions) / np.exp(predictions).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(x.gradient()), (p - np.eye(3)) / 3, rtol=1e-12)
    log_p = np.log(p)
    show("NLLLoss of log_softmax", nn.NLLLoss()(F.log_softmax(x, dim=1), y), 0.163982497)
    smooth = -(0.9 * np.diag(log_p) + 0.1 * log_p.mean(axis=1)).mean()
    show("CrossEntropyLoss(label_smoothing=0.1)", nn.CrossEntropyLoss(label_smoothing=0.1)(x, y), smooth)
    soft = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])
    loss = nn.CrossEntropyLoss()(tensor(predictions[:2]), tensor(soft))
    show("CrossEntropyLoss of soft labels", loss, -(soft * log_p[:2]).sum(axis=1).mean())

    raw, yes = tensor(np.array([2.0, -1.0, 0.5, -3.0])), tensor(np.array([1.0, 0.0, 1.0, 0.0]))
    show("BCELoss of sigmoid", nn.BCELoss()(F.sigmoid(raw), yes), 0.240713541, "   (the tutorial: 0.2824)")
    show("BCEWithLogitsLoss", nn.BCEWithLogitsLoss()(raw, yes), 0.240713541)
    # negatives ten times as many as positives: each positive counts ten times
    weighted = nn.BCEWithLogitsLoss(pos_weight=tensor(np.array([10.0])))
    each = np.log1p(np.exp([-2.0, -1.0, -0.5, -3.0]))
    show("BCEWithLogitsLoss(pos_weight=10)", weighted(raw, yes), (each * [10, 1, 10, 1]).mean())
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((4, 5)), rng.integers(0, 2, (4, 5)).astype(np.float64)
    loss = nn.BCELoss()(F.sigmoid(tensor(scores)), tensor(labels))
    show("BCELoss, 4 samples of 5 labels", loss, np.log1p(np.exp(np.where(labels == 1, -scores, scores))).mean())


def tutorial_regression() -> None:
    print("tutorial, regression")
    predictions, targets = tensor(np.array([2.5, 0.5, 2.0, 8.0])), tensor(np.array([3.0, -0.5, 2.0, 7.0]))
    show("MSELoss", nn.MSELoss()(predictions, targets), 0.5625, "   (the tutorial: 0.3750)")
    show("the mean of (x - y)**2", gl.layers.mean((predictions - targets) ** 2), 0.5625)
    show("L1Loss", nn.L1Loss()(predictions, targets), 0.625, "   (the tutorial: 0.5000)")
    show("SmoothL1Loss", nn.SmoothL1Loss()(predictions, targets), 0.28125)


def slides() -> None:
    """On arrays, through compiled functions: a loss object is one already."""
    print("slides, compiled")

    def check(what: str, criterion: Callable[..., gl.Tensor], arrays: tuple[Array, ...], want: npt.ArrayLike) -> None:
        got = gl.compile(criterion)(*arrays)
        np.testing.assert_allclose(got, np.asarray(want), rtol=1e-6, err_msg=what)
        print(f"  {what:<40} {np.round(got, 4).tolist()}")

    x, y = np.array([0.2, -0.7, 1.5, -3.0]), np.array([1.0, -1.0, -1.0, 1.0])
    zero = np.zeros(4)
    check("SmoothL1Loss(beta=0.5)", nn.SmoothL1Loss(beta=0.5), (x, zero), (0.04 + 0.45 + 1.25 + 2.75) / 4)
    # the slides call them one loss; they are for threshold 1 only: Huber is delta times SmoothL1
    check("HuberLoss(delta=0.5)", nn.HuberLoss(delta=0.5), (x, zero), 0.5 * (0.04 + 0.45 + 1.25 + 2.75) / 4)
    log_p, p = np.log([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]), np.array([[0.3, 0.4, 0.3], [0.5, 0.25, 0.25]])
    divergence = (p * (np.log(p) - log_p)).sum()
    check("KLDivLoss(reduction='batchmean')", nn.KLDivLoss(reduction="batchmean"), (log_p, p), divergence / 2)
    check("KLDivLoss(), of all 6 elements", nn.KLDivLoss(), (log_p, p), divergence / 6)
    counts = np.array([0.0, 1.0, 3.0, 2.0])
    check("PoissonNLLLoss(), x is a log-rate", nn.PoissonNLLLoss(), (x, counts), (np.exp(x) - counts * x).mean())
    stirling = (3 * np.log(3) - 3 + np.log(6 * np.pi) / 2 + 2 * np.log(2) - 2 + np.log(4 * np.pi) / 2) / 4
    full = (np.exp(x) - counts * x).mean() + stirling  # only of the counts above 1
    check("PoissonNLLLoss(full=True)", nn.PoissonNLLLoss(full=True), (x, counts), full)
    certain = np.array([0.0, 1.0, 0.5])
    check("BCELoss of 0, 1, ½: log is at least -100", nn.BCELoss(reduction="none"), (certain, 1 - certain),
          [100, 100, np.log(2)])  # fmt: skip
    check("SoftMarginLoss", nn.SoftMarginLoss(), (x, y), np.log1p(np.exp(-y * x)).mean())
    check("MarginRankingLoss(margin=0.5)", nn.MarginRankingLoss(margin=0.5), (x, zero, y),
          np.maximum(0, -y * x + 0.5).mean())  # fmt: skip
    check("HingeEmbeddingLoss", nn.HingeEmbeddingLoss(), (x, y), np.where(y == 1, x, np.maximum(0, 1 - x)).mean())
    # one row of scores: hinge losses of one label, of several labels, and a logistic loss for each class
    row = np.array([[0.1, 0.2, 0.4, 0.8]])
    check("MultiMarginLoss", nn.MultiMarginLoss(), (row, np.array([3])), (0.3 + 0.4 + 0.6) / 4)
    check("MultiLabelMarginLoss", nn.MultiLabelMarginLoss(), (row, np.array([[3, 0, -1, 1]])),
          ((1 - 0.6) + (1 - 0.4) + (1 + 0.1) + (1 + 0.3)) / 4)  # fmt: skip
    check("MultiLabelSoftMarginLoss", nn.MultiLabelSoftMarginLoss(), (row, np.array([[1.0, 0, 0, 1]])),
          np.log1p(np.exp(row * [[-1, 1, 1, -1]])).mean())  # fmt: skip
    a, near, far = np.array([[0.0, 0.0]]), np.array([[0.3, 0.4]]), np.array([[0.6, 0.8]])
    check("TripletMarginLoss", nn.TripletMarginLoss(eps=0.0), (a, near, far), 0.5 - 1 + 1)
    check("CosineEmbeddingLoss", nn.CosineEmbeddingLoss(), (np.array([[3.0, 4.0]] * 2), np.array([[4.0, 3.0]] * 2),
          np.array([1, -1])), (0.04 + 0.96) / 2)  # fmt: skip

    far_off, classes = np.array([[0.2, 1.0, 0.4], [0.7, 0.1, 0.3]]), np.array([2, 0])
    weight = np.array([1.0, 2.0, 3.0])
    p_y = np.exp(far_off) / np.exp(far_off).sum(axis=1, keepdims=True)
    each = -np.log(p_y[[0, 1], classes])
    check("CrossEntropyLoss(weight): divided by Σw[y]", weighted(nn.CrossEntropyLoss), (far_off, classes, weight),
          (3 * each[0] + each[1]) / 4)  # fmt: skip
    check("NLLLoss(weight) of log_softmax", weighted(nn.NLLLoss), (np.log(p_y), classes, weight),
          (3 * each[0] + each[1]) / 4)  # fmt: skip
    check("MultiMarginLoss(p=2, weight)", weighted(nn.MultiMarginLoss, p=2), (row, np.array([3]), np.arange(4.0)),
          3 * (0.09 + 0.16 + 0.36) / 4)  # fmt: skip
    # frames of blank and one symbol, all even: the symbol is spelled by 6 of the 8 paths through three of them
    check("CTCLoss", lambda x, y: nn.CTCLoss()(F.log_softmax(x, 2), y, [3], [1]), (np.zeros((3, 1, 2)),
          np.array([[1]])), -np.log(6 / 8))  # fmt: skip


def weighted(loss: Callable[..., Any], **options: Any) -> Callable[..., gl.Tensor]:
    """The loss of (x, y, weight), with the weight of each class."""

    def criterion(x: gl.Tensor, y: gl.Tensor, weight: gl.Tensor) -> gl.Tensor:
        found: gl.Tensor = loss(weight=weight, **options)(x, y)
        return found

    return criterion


def adaptive() -> None:
    """Six classes: three in the head beside a cluster of the other three, whose vectors are shorter."""
    print("slides, adaptive softmax")
    model = nn.AdaptiveLogSoftmaxWithLoss(in_features=4, n_classes=6, cutoffs=[3], div_value=2.0, dtype="float64")
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        assert isinstance(parameter, gl.dygraph.VarBase)
        parameter.set_value(rng.standard_normal(parameter.shape))
    head, shorter, tail = (parameter.numpy() for parameter in model.parameters())
    x, y = rng.standard_normal((5, 4)), np.array([0, 5, 2, 3, 1])
    output, loss = model(tensor(x), tensor(y))
    first, rest = log_softmax(x @ head.T), log_softmax(x @ shorter.T @ tail.T)
    log_p = np.concatenate([first[:, :3], first[:, 3:] + rest], axis=1)  # the cluster, then the class in it
    np.testing.assert_allclose(model.log_prob(tensor(x)).numpy(), log_p, rtol=1e-12)
    np.testing.assert_allclose(output.numpy(), log_p[range(5), y], rtol=1e-12)
    show("AdaptiveLogSoftmaxWithLoss", loss, -log_p[range(5), y].mean())


def log_softmax(z: Array) -> Array:
    """In NumPy, to compare with."""
    shifted: Array = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return shifted


def main() -> None:
    with gl.dygraph.guard():
        tutorial_classification()
        tutorial_regression()
        adaptive()
    slides()


if __name__ == "__main__":
    main()
