"""The losses of Paddle Fluid's guide to loss functions, each on numbers small enough to check by hand.

Run it as `python examples/fluid_guide.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as fluid

Array = npt.NDArray[Any]

# what a model might give for two samples of three classes, and what they are
LOGITS = np.array([[2.0, 0.5, 0.3], [0.1, 3.0, 0.2]])
HARD = np.array([[0], [1]])
SOFT = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])


def run(build: Callable[..., Any], **feed: Array) -> list[Array]:
    """Declares an input per array, builds the program, compiles and runs it: the values of what `build` returns."""
    main, startup = fluid.Program(), fluid.Program()
    with fluid.program_guard(main, startup):
        inputs = {n: fluid.data(name=n, shape=[None, *a.shape[1:]], dtype=a.dtype.name) for n, a in feed.items()}
        built = build(**inputs)
        fetch = list(built) if isinstance(built, tuple) else [built]
    exe = fluid.Executor(fluid.CPUPlace())
    if startup.global_block().ops:  # parameters start there
        exe.run(startup)
    return exe.run(main, feed=feed, fetch_list=fetch)


def show(what: str, got: Array, want: npt.ArrayLike) -> None:
    np.testing.assert_allclose(got, np.asarray(want), rtol=1e-6, atol=1e-7, err_msg=what)
    print(f"  {what:<44} {np.round(got.squeeze(), 4).tolist()}")


def log_softmax(z: Array) -> Array:
    """In NumPy, to compare with."""
    shifted: Array = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return shifted


def regression() -> None:
    print("regression, x = [[0.5, 3.0]], y = [[0, 0]]")
    x, y = np.array([[0.5, 3.0]]), np.zeros((1, 2))
    (squares,) = run(lambda x, y: fluid.layers.square_error_cost(x, y), x=x, y=y)
    show("square_error_cost, each element", squares, [[0.25, 9.0]])
    # the outlier costs its distance, not its square; the sum over the row has shape [N, 1]
    (smooth,) = run(lambda x, y: fluid.layers.smooth_l1(x, y), x=x, y=y)
    show("smooth_l1, the sum over a row", smooth, [[0.125 + 2.5]])


def classification() -> None:
    print("classification, of probabilities and of logits, with hard and soft labels")
    layers = fluid.layers

    def hard(z: fluid.Variable, y: fluid.Variable) -> object:
        return layers.cross_entropy(layers.softmax(z), y), layers.softmax_with_cross_entropy(z, y)

    def soft(z: fluid.Variable, t: fluid.Variable) -> object:
        return (
            layers.cross_entropy(layers.softmax(z), t, soft_label=True),
            layers.softmax_with_cross_entropy(z, t, soft_label=True),
        )

    for name, values, want in (
        ("hard", run(hard, z=LOGITS, y=HARD), -np.take_along_axis(log_softmax(LOGITS), HARD, axis=1)),
        ("soft", run(soft, z=LOGITS, t=SOFT), -(SOFT * log_softmax(LOGITS)).sum(axis=1, keepdims=True)),
    ):
        of_probabilities, of_logits = values
        show(f"cross_entropy of softmax, {name} label", of_probabilities, want)
        show(f"softmax_with_cross_entropy, {name} label", of_logits, want)
    # what the two steps would lose, the compiler keeps: the probability of class 0 is 0 in float64
    far, _ = run(hard, z=np.array([[-1000.0, 0.0, 0.0]]), y=np.array([[0]]))
    show("cross_entropy of softmax, logits 1000 apart", far, [[1000 + np.log(2)]])


def multi_label() -> None:
    print("multi-label classification: an article may be about politics, technology, both or neither")
    x, y = np.array([[2.0, -1.0], [0.5, 3.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    (loss,) = run(lambda x, y: fluid.layers.sigmoid_cross_entropy_with_logits(x, y), x=x, y=y)
    show("sigmoid_cross_entropy_with_logits", loss, np.log1p(np.exp(np.where(y == 1, -x, x))))


def first(values: Array) -> fluid.ParamAttr:
    """A parameter that starts at these values."""
    return fluid.ParamAttr(initializer=fluid.initializer.NumpyArrayInitializer(values))


def large_scale() -> None:
    print("large-scale classification: without the sum over all classes")
    x, label = np.array([[1.0, -0.5]]), np.array([[2]])
    weight = np.array([[0.2, 0.1], [-0.3, 0.4], [0.5, -0.6], [0.1, 0.3]])

    def sampled(x: fluid.Variable, y: fluid.Variable) -> object:
        # drawn classes are told from the true one; given here, so that the numbers can be checked
        return fluid.layers.nce(
            x, y, num_total_classes=4, num_neg_samples=2, param_attr=first(weight), bias_attr=False,
            custom_neg_classes=[0, 3],
        )  # fmt: skip

    (nce,) = run(sampled, x=x, y=label)
    o, noise = 1 / (1 + np.exp(-(x @ weight.T)[0])), 2 / 4
    each = [-np.log(o[2] / (o[2] + noise)), *(-np.log(noise / (o[[0, 3]] + noise)))]
    show("nce, divided by the number of its terms", nce, [[np.sum(each) / 3]])

    # class 2 of 4 is reached by two decisions: bit 0 at node 2, then bit 1 at node 0
    nodes = weight[:3]
    (tree,) = run(lambda x, y: fluid.layers.hsigmoid(x, y, 4, param_attr=first(nodes), bias_attr=False), x=x, y=label)
    z = (x @ nodes.T)[0]
    show("hsigmoid, the sum over the path", tree, [[np.log1p(np.exp(z[2])) + np.log1p(np.exp(-z[0]))]])


def sequences() -> None:
    print("sequences: a tag for each word, or symbols without their places")
    words, tags = np.array([[[1.0, 0.2], [0.1, 0.8], [0.5, 0.4]]]), np.array([[[0], [1], [1]]])
    # from the start to each tag, from each tag to the end, from tag to tag
    moves = np.array([[0.1, -0.1], [0.0, 0.3], [0.2, 0.5], [-0.4, 0.6]])

    def tagging(x: fluid.Variable, y: fluid.Variable, n: fluid.Variable) -> object:
        cost = fluid.layers.linear_chain_crf(x, y, param_attr=fluid.ParamAttr(
            name="moves", initializer=fluid.initializer.NumpyArrayInitializer(moves)), length=n)  # fmt: skip
        return cost, fluid.layers.crf_decoding(x, param_attr=fluid.ParamAttr(name="moves"), length=n)

    def score(path: tuple[int, ...]) -> float:
        steps = sum(moves[2 + a, b] for a, b in pairwise(path))
        return float(moves[0, path[0]] + moves[1, path[-1]] + words[0, range(3), path].sum() + steps)

    paths = {path: score(path) for path in product((0, 1), repeat=3)}
    cost, best = run(tagging, x=words, y=tags, n=np.array([[3]]))
    show("linear_chain_crf, of 8 paths", cost, [[np.log(np.exp(list(paths.values())).sum()) - paths[0, 1, 1]]])
    show("crf_decoding", best, [max(paths, key=lambda path: paths[path])])

    # three frames of blank and one symbol, all even: "a" is spelled by 6 of the 8 paths
    frames, text = np.zeros((3, 1, 2)), np.array([[1]])
    (ctc,) = run(
        lambda x, y, t, n: fluid.layers.warpctc(x, y, input_length=t, label_length=n),
        x=frames, y=text, t=np.array([3]), n=np.array([1]),
    )  # fmt: skip
    show("warpctc", ctc, [[-np.log(6 / 8)]])


def ranking() -> None:
    print("ranking: document a belongs before document b; scores a = [1.2, 0.4], b = [0.4, 0.9]")
    left, right = np.array([[1.2], [0.4]]), np.array([[0.4], [0.9]])
    one = np.ones((2, 1))
    (pointwise,) = run(lambda x, y: fluid.layers.square_error_cost(x, y), x=left, y=one)
    show("pointwise, a regression: square_error_cost", pointwise, [[0.04], [0.36]])
    (rank,) = run(lambda y, a, b: fluid.layers.rank_loss(y, a, b), y=one, a=left, b=right)
    show("pairwise: rank_loss", rank, np.log1p(np.exp(right - left)))
    (margin,) = run(lambda y, a, b: fluid.layers.margin_rank_loss(y, a, b, margin=0.1), y=one, a=left, b=right)
    show("pairwise: margin_rank_loss", margin, [[0.0], [0.6]])


def composition() -> None:
    print("losses made of others")
    p, t = np.array([[[0.8], [0.2], [0.6]]]), np.array([[[1], [0], [1]]])
    # 1 - 2·overlap/(sum of both areas), a mean over the images; the guide calls it a mean of likelihoods
    (dice,) = run(lambda p, t: fluid.layers.dice_loss(p, t), p=p, t=t)
    show("dice_loss", dice, [1 - 2 * 1.4 / (1.6 + 2 + 1e-5)])

    def detector(z: fluid.Variable, y: fluid.Variable, box: fluid.Variable, truth: fluid.Variable) -> object:
        classes = fluid.layers.mean(fluid.layers.cross_entropy(fluid.layers.softmax(z), y))
        boxes = fluid.layers.mean(fluid.layers.smooth_l1(box, truth))
        return classes, boxes, classes + 0.5 * boxes

    box, truth = np.array([[0.1, 0.2, 1.0, 1.0], [0.0, 0.0, 2.0, 4.0]]), np.array([[0.0, 0.0, 1.0, 1.0]] * 2)
    classes, boxes, total = run(detector, z=LOGITS, y=HARD, box=box, truth=truth)
    show("cross entropy of the classes", classes, -log_softmax(LOGITS)[[0, 1], [0, 1]].mean(keepdims=True))
    show("smooth_l1 of the boxes", boxes, [(0.025 + 0.5 + 2.5) / 2])
    show("their weighted sum, as in Faster R-CNN", total, classes + 0.5 * boxes)


def optimizing() -> None:
    print("an optimizer wants one number: the mean of the losses; one step of SGD from w = 0")
    main, startup = fluid.Program(), fluid.Program()
    with fluid.program_guard(main, startup):
        x = fluid.data(name="x", shape=[None, 1], dtype="float64")
        y = fluid.data(name="y", shape=[None, 1], dtype="float64")
        zero = fluid.ParamAttr(name="w", initializer=fluid.initializer.Constant(0.0))
        cost = fluid.layers.square_error_cost(fluid.layers.fc(x, size=1, param_attr=zero, bias_attr=False), y)
        loss = fluid.layers.mean(cost)
        fluid.optimizer.SGD(learning_rate=0.1).minimize(loss)
    exe = fluid.Executor(fluid.CPUPlace())
    exe.run(startup)
    feed = {"x": np.array([[1.0], [2.0]]), "y": np.array([[2.0], [4.0]])}
    (before,) = exe.run(main, feed=feed, fetch_list=[loss])
    show("mean of the costs before", before, [10.0])
    (after,) = exe.run(main, feed=feed, fetch_list=[loss])  # w = 0.1·(2·1·2 + 2·2·4)/2 = 1
    show("mean of the costs after", after, [2.5])


def main() -> None:
    for section in (regression, classification, multi_label, large_scale, sequences, ranking, composition, optimizing):
        section()


if __name__ == "__main__":
    main()
