"""Where the libraries disagree, what each dialect does: every answer is what a run gives, and what it has to give.

Run as a program it prints the page docs/dialects.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphloss as gl
from graphloss import dygraph, layers
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.runners import Array, Runner, eager

Build = Callable[..., Any]


@dataclass(frozen=True)
class Answer:
    """`build` of these arrays gives `value` and, by the first of them, `grad`; or raises `error`."""

    call: str
    build: Build
    arrays: dict[str, Array]
    value: Any = None
    grad: Any = None
    error: type[Exception] | None = None


@dataclass(frozen=True)
class Question:
    """A decision, by its number in section 3 of the design."""

    number: int
    text: str
    answers: tuple[Answer, ...]


X = np.array([[2.0, 0.5], [0.0, 1.0]])
IGNORED = {"x": X, "y": np.array([0, -100])}
ALL_IGNORED = {"x": X, "y": np.array([-100, -100])}
BAD = {"x": X, "y": np.array([0, -1])}
SOFT = {"x": np.zeros((1, 2)), "y": np.array([[0.5, 1.0]])}
VOLUME = {"x": np.zeros((1, 2, 3)), "y": np.array([[0, 1, 0]])}
HALF_LOSS = math.log(1 + math.exp(-1.5))
P = math.exp(-1.5) / (1 + math.exp(-1.5))
KL = {"x": np.log([[0.2, 0.5, 0.2, 0.1]]), "y": np.array([[0.3, 0.4, 0.1, 0.2]])}
KL_ROW = float((KL["y"] * (np.log(KL["y"]) - KL["x"])).sum())
COUNTS = {"x": np.zeros((2, 2)), "y": np.ones((2, 2))}
ANGLE = {"x": np.array([[1.0, 0.0]]), "y": np.array([[0.0, 1.0]]), "z": np.array([-1.0])}
SLACK = {"x": np.array([1.0]), "y": np.array([0.0]), "z": np.array([1.0])}
SAMPLED = {"x": np.zeros((1, 3)), "y": np.array([[1]]), "ids": np.array([[1, 0, 1]]), "q": np.array([[0.5, 0.25, 0.1]])}
ONE = {"x": np.array([[1.0]]), "y": np.array([[1.0]])}
HALVES = np.full((2, 1, 2), math.log(0.5))  # two frames of a blank and a symbol
ALIGNED = {"x": HALVES, "y": np.array([[1]]), "t": np.array([2]), "s": np.array([1])}
TOO_LONG = {**ALIGNED, "y": np.array([[1, 1]]), "s": np.array([2])}  # a repeat needs a blank in between
NO_GRADIENT = np.zeros((2, 1, 2))
TREE = {"x": np.zeros((2, 1)), "y": np.array([0, 1]), "w": np.ones((2, 1))}  # one decision for class 0, two for class 1
FAR = {"x": np.array([-1e4]), "y": np.array([1.0])}


def unreduced(loss: Build) -> Build:
    return lambda x, y: loss(x, layers.unsqueeze(y, [1]))


QUESTIONS = (
    Question(1, "What does Gluon's KLDivLoss give per sample?", (
        Answer("gluon.loss.KLDivLoss()", gluon.KLDivLoss(), KL, [KL_ROW / 4]),
        Answer('gluon.loss.KLDivLoss(reduction="sum")', gluon.KLDivLoss(reduction="sum"), KL, [KL_ROW]),
    )),
    Question(2, "What shape have Gluon's PoissonNLLLoss and CosineEmbeddingLoss?", (
        Answer("gluon.loss.PoissonNLLLoss()", gluon.PoissonNLLLoss(), COUNTS, 1.0),
        Answer("gluon.loss.CosineEmbeddingLoss()", gluon.CosineEmbeddingLoss(), ANGLE, [[0.0]]),
    )),
    Question(3, "What does hierarchical softmax add where a path is shorter than the longest?", (
        Answer("losses.hierarchical_softmax_loss, labels 0 and 1 of 3 classes",
               lambda x, y, w: gl.losses.hierarchical_softmax_loss(x, y, w, reduction="none"), TREE,
               [math.log(2), 2 * math.log(2)], [[-0.5], [1.0]]),
    )),
    Question(4, "What is the gradient of an ignored row?", (
        Answer("layers.softmax_with_cross_entropy", unreduced(layers.softmax_with_cross_entropy), IGNORED,
               [[HALF_LOSS], [0]], [[-P, P], [0, 0]]),
        Answer("nn.functional.cross_entropy", lambda x, y: F.cross_entropy(x, y), IGNORED, HALF_LOSS,
               [[-P, P], [0, 0]]),
    )),
    Question(5, "What is the gradient for soft labels that do not add up to 1?", (
        Answer("layers.softmax_with_cross_entropy(soft_label=True)",
               lambda x, y: layers.softmax_with_cross_entropy(x, y, soft_label=True), SOFT, [[1.5 * math.log(2)]],
               [[0.25, -0.25]]),
        Answer("nn.functional.cross_entropy", lambda x, y: F.cross_entropy(x, y), SOFT, 1.5 * math.log(2),
               [[0.25, -0.25]]),
        Answer("gluon.loss.SoftmaxCELoss(sparse_label=False)", gluon.SoftmaxCELoss(sparse_label=False), SOFT,
               [1.5 * math.log(2)], [[0.25, -0.25]]),
    )),
    Question(6, "What is the mean where every row is ignored?", (
        Answer("dygraph.NLLLoss()", lambda x, y: dygraph.NLLLoss()(x, y), ALL_IGNORED, [0.0], np.zeros((2, 2))),
        Answer("nn.NLLLoss()", lambda x, y: gl.nn.NLLLoss()(x, y), ALL_IGNORED, math.nan, np.zeros((2, 2))),
        Answer('nn.NLLLoss(empty_mean="zero")', lambda x, y: gl.nn.NLLLoss(empty_mean="zero")(x, y), ALL_IGNORED, 0.0,
               np.zeros((2, 2))),
        Answer('nn.NLLLoss(empty_mean="error")', lambda x, y: gl.nn.NLLLoss(empty_mean="error")(x, y), ALL_IGNORED,
               error=ValueError),
    )),
    Question(7, "What does CTC give for a label that fits no alignment?", (
        Answer("nn.functional.ctc_loss", lambda x, y, t, s: F.ctc_loss(x, y, t, s, reduction="none"), TOO_LONG,
               [math.inf], np.full((2, 1, 2), math.nan)),
        Answer("nn.functional.ctc_loss(zero_infinity=True)",
               lambda x, y, t, s: F.ctc_loss(x, y, t, s, reduction="none", zero_infinity=True), TOO_LONG, [0.0],
               NO_GRADIENT),
        Answer("layers.warpctc", lambda x, y, t, s: layers.warpctc(x, y, input_length=t, label_length=s), TOO_LONG,
               [[0.0]], NO_GRADIENT),
        Answer('gluon.loss.CTCLoss("TNC")', gluon.CTCLoss("TNC"),
               {"x": HALVES, "y": np.array([[0, 0]])}, [0.0], NO_GRADIENT),
    )),
    Question(8, "What is the gradient of CTC by log-probabilities?", (
        Answer("nn.functional.ctc_loss", lambda x, y, t, s: F.ctc_loss(x, y, t, s), ALIGNED, -math.log(0.75),
               [[[-1 / 3, -2 / 3]]] * 2),
        Answer("nn.functional.ctc_loss behind log_softmax",
               lambda x, y, t, s: F.ctc_loss(F.log_softmax(x, 2), y, t, s), ALIGNED, -math.log(0.75),
               [[[1 / 6, -1 / 6]]] * 2),
    )),
    Question(9, "Is a documented bound on the logarithm kept?", (
        Answer("nn.functional.binary_cross_entropy of a probability 0", lambda x, y: F.binary_cross_entropy(x, y),
               {"x": np.array([0.0]), "y": np.array([1.0])}, 100.0, [-1e12]),
        Answer("layers.cross_entropy of a probability 0", lambda x, y: layers.cross_entropy(x, y),
               {"x": np.array([[0.0, 1.0]]), "y": np.array([[0]])}, [[1e20]], [[-math.inf, 0]]),
        Answer("layers.log_loss of a probability 0", lambda x, y: layers.log_loss(x, y, epsilon=1e-4),
               {"x": np.array([[0.0]]), "y": np.array([[1.0]])}, [[-math.log(1e-4)]], [[-1e4]]),
    )),
    Question(10, "What is the target of dice_loss where the last dimension is 1?", (
        Answer("layers.dice_loss", lambda x, y: layers.dice_loss(x, y, epsilon=0.0), ONE, [0.0]),
        Answer("layers.dice_loss of an empty mask", lambda x, y: layers.dice_loss(x, y),
               {"x": ONE["x"] * 0, "y": ONE["y"] * 0}, [1.0]),
    )),
    Question(11, "Does the soft margin overflow?", (
        Answer("nn.functional.soft_margin_loss", lambda x, y: F.soft_margin_loss(x, y), FAR, 1e4, [-1.0]),
        Answer("gluon.loss.LogisticLoss()", gluon.LogisticLoss(), FAR, [1e4], [-1.0]),
    )),
    Question(12, "What does a label out of range do?", (
        Answer("layers.bpr_loss", unreduced(layers.bpr_loss), BAD, error=gl.errors.LabelError),
        Answer("nn.functional.multi_margin_loss", lambda x, y: F.multi_margin_loss(x, y), BAD,
               error=gl.errors.LabelError),
        Answer("gluon.loss.SoftmaxCELoss()", gluon.SoftmaxCELoss(), BAD, error=gl.errors.LabelError),
    )),
    Question(13, "What does a weight do that is an array and no Variable?", (
        Answer("dygraph.NLLLoss(weight)", lambda x, y: dygraph.NLLLoss(np.ones(2))(x, y), IGNORED,  # type: ignore[arg-type]
               error=TypeError),
        Answer("nn.functional.multi_margin_loss(weight=…)",
               lambda x, y: F.multi_margin_loss(x, y, weight=np.ones(2)), IGNORED, error=TypeError),  # type: ignore[arg-type]
        Answer("gluon.loss.HingeLoss(weight=…)", lambda x, y: gluon.HingeLoss(weight=np.ones(2))(x, y), IGNORED,  # type: ignore[arg-type]
               error=TypeError),
    )),
    Question(14, "On which axis are the classes of an input (N, C, d)?", (
        Answer("dygraph.CrossEntropyLoss()", lambda x, y: dygraph.CrossEntropyLoss()(x, y), VOLUME, [math.log(2)]),
        Answer("nn.functional.cross_entropy", lambda x, y: F.cross_entropy(x, y), VOLUME, math.log(2)),
    )),
    Question(15, "Does the gradient pass where the slack is exactly 0?", (
        Answer("layers.margin_rank_loss(margin=1)", lambda x, y, z: layers.margin_rank_loss(z, x, y, margin=1.0), SLACK,
               [0.0], [0.0]),
        Answer("nn.functional.margin_ranking_loss(margin=1)", lambda x, y, z: F.margin_ranking_loss(x, y, z, 1.0),
               SLACK, 0.0, [-1.0]),
        Answer("nn.functional.multi_margin_loss", lambda x, y: F.multi_margin_loss(x, y),
               {"x": np.array([[1.0, 0.0]]), "y": np.array([0])}, 0.0, [[0.0, 0.0]]),
        Answer("gluon.loss.HingeLoss()", gluon.HingeLoss(), ONE, [0.0], [[0.0]]),
        Answer("nn.functional.cosine_embedding_loss, cos = margin",
               lambda x, y, z: F.cosine_embedding_loss(x, y, z), ANGLE, 0.0, [[0.0, 1.0]]),
        Answer("gluon.loss.CosineEmbeddingLoss(), cos = margin", gluon.CosineEmbeddingLoss(), ANGLE, [[0.0]],
               [[0.0, 0.0]]),
    )),
    Question(16, "Are customised samples taken as they are?", (
        Answer("layers.sampled_softmax_with_cross_entropy(customized_samples=…)",
               lambda x, y, ids, q: layers.sampled_softmax_with_cross_entropy(
                   x, y, 2, use_customized_samples=True, customized_samples=ids, customized_probabilities=q), SAMPLED,
               [[math.log(3)]], [[2 / 3, -2 / 3, 0.0]]),
    )),
    Question(17, "What shape has a scalar?", (
        Answer("layers.kldiv_loss", lambda x, y: layers.kldiv_loss(x, y, "sum"), KL, [KL_ROW]),
        Answer("nn.functional.kl_div", lambda x, y: F.kl_div(x, y, reduction="sum"), KL, KL_ROW),
        Answer("gluon.loss.PoissonNLLLoss()", gluon.PoissonNLLLoss(), COUNTS, 1.0),
    )),
    Question(18, "Are float64 inputs taken by what takes float32 only in the original?", (
        Answer("layers.rank_loss", lambda x, y, z: layers.rank_loss(z, x, y), SLACK, [math.log1p(math.exp(-1))]),
        Answer("layers.margin_rank_loss", lambda x, y, z: layers.margin_rank_loss(z, x, y), SLACK, [0.0]),
        Answer("dygraph.MSELoss()", lambda x, y: dygraph.MSELoss()(x, y), ONE, [0.0]),
    )),
)  # fmt: skip

HEAD = """# Where the dialects differ

Paddle Fluid, PyTorch and MXNet Gluon disagree with one another, and now and then with their own documentation. This
is what `graphloss.layers`, `graphloss.nn` and `graphloss.gluon` do. Each number in the table comes from a run; the
gradient is that of the sum of the result, by the first argument.
`python -m tests.losses.semantics > docs/dialects.md` prints this page anew.

| Nr. | Question | Call | Gives | Gradient |
|---|---|---|---|---|
"""


def shown(a: Any) -> str:
    return "`" + repr(np.asarray(a).round(4).tolist()).replace("-0.0,", "0.0,").replace("-0.0]", "0.0]") + "`"


def measured(answer: Answer, run: Runner = eager) -> tuple[str, str]:
    by = tuple(answer.arrays)[:1] if answer.grad is not None else ()
    try:
        value, grads = run(lambda *a, **i: answer.build(*i.values()), answer.arrays, by)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"raises `{type(error).__name__}`", ""
    return shown(value), shown(grads[0]) if by else ""


def page() -> str:
    lines = []
    for q in QUESTIONS:
        for i, answer in enumerate(q.answers):
            value, grad = measured(answer)
            first = (str(q.number), q.text) if i == 0 else ("", "")
            lines.append(f"| {first[0]} | {first[1]} | `{answer.call}` | {value} | {grad} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
