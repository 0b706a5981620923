"""The losses of MXNet Gluon's tutorial: its numbers, its gradients, its plots.

Where the tutorial's text and MXNet differ, the code does what MXNet does: the losses are means over a sample's
elements, not sums; a net that ends in a sigmoid takes from_sigmoid=True; 0.02 as KL divergence is a mean over the
classes, their sum is 0.1017; CTC adds up all alignments, it does not pick one.

Run it as `python examples/gluon_losses.py [--output examples/output]`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from graphloss.gluon import autograd, nd, nn
from graphloss.gluon import loss as gloss
from graphloss.initializer import Uniform

HERE = Path(__file__).parent

Floats = npt.NDArray[Any]
# what is drawn: a loss, and its formula for the label 0 or 1
Curves = dict[str, tuple[gloss.Loss, Callable[[Floats], Floats]]]

REGRESSION: Curves = {
    "L1Loss": (gloss.L1Loss(), lambda x: np.abs(x)),
    "L2Loss": (gloss.L2Loss(), lambda x: x**2 / 2),
    "HuberLoss(rho=1)": (gloss.HuberLoss(rho=1), lambda x: np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)),
}
CLASSIFICATION: Curves = {
    "SigmoidBCELoss": (gloss.SigmoidBCELoss(), lambda x: np.log1p(np.exp(-x))),
    "HingeLoss": (gloss.HingeLoss(), lambda x: np.maximum(0, 1 - x)),
    "SquaredHingeLoss": (gloss.SquaredHingeLoss(), lambda x: np.maximum(0, 1 - x) ** 2),
    "LogisticLoss": (gloss.LogisticLoss(), lambda x: np.log1p(np.exp(-x))),
}


def show(what: str, got: Any, want: npt.ArrayLike) -> None:
    values = got.asnumpy()
    np.testing.assert_allclose(values, np.asarray(want), rtol=1e-5, atol=1e-6, err_msg=what)
    print(f"  {what:<44} {[round(float(v), 4) + 0.0 for v in values.ravel()]}")


def basic_usage() -> None:
    print("basic usage")
    loss = gloss.L2Loss()
    x, y = nd.ones((2,)), nd.ones((2,)) * 2
    show("L2Loss of ones and twos", loss(x, y), [0.5, 0.5])
    show("0.5 * (x - y)**2", 0.5 * (x - y) ** 2, [0.5, 0.5])
    show("sample_weight [1, 2]", loss(x, y, nd.array([1, 2])), [0.5, 1.0])

    X = nd.random.uniform(shape=(2, 4))
    assert isinstance(X, nd.NDArray)
    net = nn.Dense(1)
    net.initialize(Uniform(-0.07, 0.07, seed=1))  # without a seed, other weights in each run
    with autograd.record():
        out: Any = net(X)
        l2: Any = loss(out, y)
    l2.backward()
    # a loss for each sample; backward is that of their sum: Σ (out - y)·x
    error = out.asnumpy() - 2
    np.testing.assert_allclose(l2.asnumpy(), 0.5 * error[:, 0] ** 2, rtol=1e-5)
    show("gradient of a dense layer's weight", net.weight.grad(), error.T @ X.asnumpy())


def classification() -> None:
    print("classification")
    scores = np.array([[1.0, 10.0], [8.0, 2.0]])
    want = np.log(np.exp(scores).sum(axis=1)) - scores[[0, 1], [0, 1]]
    show("SoftmaxCrossEntropyLoss", gloss.SoftmaxCrossEntropyLoss()(nd.array(scores), nd.array([0, 1])), want)
    logits, labels = np.array([[2.0], [-1.0]]), nd.array([[1], [0]])
    want = np.log1p(np.exp([-2.0, -1.0]))
    show("SigmoidBCELoss of logits", gloss.SigmoidBCELoss()(nd.array(logits), labels), want)
    p = nd.array(1 / (1 + np.exp(-logits)))
    show("SigmoidBCELoss(from_sigmoid=True)", gloss.SigmoidBCELoss(from_sigmoid=True)(p, labels), want)


def distributions() -> None:
    print("distributions")
    output = nd.array([[0.39056206, 1.3068528, 0.39056206, -0.30258512]])
    target = nd.array([[0.3, 0.4, 0.1, 0.2]])
    show("softmax of the output", output.softmax(), [[0.2, 0.5, 0.2, 0.1]])
    terms = target.asnumpy() * np.log(target.asnumpy() / [[0.2, 0.5, 0.2, 0.1]])
    show("KLDivLoss, the mean over the classes", gloss.KLDivLoss(from_logits=False)(output, target), [terms.mean()])
    summed = gloss.KLDivLoss(from_logits=False, reduction="sum")
    show("KLDivLoss, their sum: the divergence", summed(output, target), [terms.sum()])
    rate, count = np.array([0.5, 2.0, 3.0]), np.array([0.0, 2.0, 5.0])
    want = (rate - count * np.log(rate)).mean()
    show("PoissonNLLLoss of log-rates", gloss.PoissonNLLLoss()(nd.array(np.log(rate)), nd.array(count)), want)
    of_rates = gloss.PoissonNLLLoss(from_logits=False)
    show("PoissonNLLLoss(from_logits=False)", of_rates(nd.array(rate), nd.array(count)), want)


def embeddings() -> None:
    print("embeddings")
    a, near, far = nd.array([[0.0, 0.5]]), nd.array([[0.5, 0.0]]), nd.array([[1.0, 0.0]])
    show("TripletLoss: 0.5 - 1.25 + 1", gloss.TripletLoss()(a, near, far), [0.25])
    loss = gloss.CosineEmbeddingLoss()
    x = nd.array([1, 0, 1, 0, 1, 0])
    show("CosineEmbeddingLoss, same, label 1", loss(x, x, nd.array(1)), [[0.0]])
    # the tutorial calls its second pair opposite; it is orthogonal: cos is 0
    show("CosineEmbeddingLoss, orthogonal, label -1", loss(x, nd.array([0, 1, 0, 1, 0, 1]), nd.array(-1)), [[0.0]])
    show("CosineEmbeddingLoss, same, label -1", loss(x, x, nd.array(-1)), [[1.0]])


def alignments() -> None:
    print("alignments")
    # three frames of one symbol and a blank, all even: "a" is spelled by 6 of the 8 paths; the blank is the last class
    show("CTCLoss", gloss.CTCLoss()(nd.array(np.zeros((1, 3, 2))), nd.array([[0]])), [-np.log(6 / 8)])


def draw(curves: Curves, label: int, title: str, path: Path) -> None:
    """Values of the losses for predictions in [-5, 5) and one label."""
    x = nd.arange(-5, 5, 0.1)
    y = nd.ones_like(x) * label
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    styles = ("-", "--", "-.", ":")  # two of the classification losses are the same curve
    for (name, (loss, formula)), style in zip(curves.items(), styles, strict=False):
        values: Any = loss(x, y)
        np.testing.assert_allclose(values.asnumpy(), formula(x.asnumpy()), rtol=1e-5, atol=1e-6, err_msg=name)
        axes.plot(x.asnumpy(), values.asnumpy(), style, label=name)
    axes.set(xlabel="prediction", ylabel="loss", title=title, ylim=(0, 8))
    axes.legend(loc="upper center" if label == 0 else "upper right")
    figure.savefig(path, dpi=120)
    print(f"  {path}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, default=HERE / "output", help="folder for the pictures")
    output: Path = arguments.parse_args().output
    nd.random.seed(0)
    for section in (basic_usage, classification, distributions, embeddings, alignments):
        section()
    print("pictures")
    output.mkdir(parents=True, exist_ok=True)
    draw(REGRESSION, 0, "regression losses, label 0", output / "gluon-regression.png")
    draw(CLASSIFICATION, 1, "classification losses, label 1", output / "gluon-classification.png")


if __name__ == "__main__":
    main()
