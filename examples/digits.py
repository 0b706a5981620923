"""Trains a classifier on real handwritten digits through Program and Executor, and shows what the compiler did.

Run it as `make demo` or `python examples/digits.py [--epochs 60] [--output examples/output]`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import graphloss as gl

HERE = Path(__file__).parent
HIDDEN, CLASSES, PIXELS = 64, 10, 64
BATCH, RATE = 64, 0.2

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images `[N, 64]` with pixels in [0, 1] and labels `[N, 1]`, for training and for testing."""

    train_x: Images
    train_y: Labels
    test_x: Images
    test_y: Labels


def load(path: Path, seed: int) -> Digits:
    """Every fifth of the shuffled images is kept for testing."""
    table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    table = table[np.random.default_rng(seed).permutation(len(table))]
    images, labels = (table[:, :PIXELS] / 16).astype(np.float32), table[:, PIXELS:]
    test = np.arange(len(table)) % 5 == 0
    return Digits(images[~test], labels[~test], images[test], labels[test])


@dataclass(frozen=True)
class Model:
    """The training program, the one for testing (without backward and update ops), and their variables."""

    main: gl.Program
    startup: gl.Program
    test: gl.Program
    prob: gl.Variable
    loss: gl.Variable


def build(seed: int) -> Model:
    """Two fully connected layers; the loss in its textbook form, the logarithm of a softmax."""
    main, startup = gl.Program(), gl.Program()
    main.random_seed = startup.random_seed = seed
    with gl.program_guard(main, startup):
        x = gl.data(name="x", shape=[None, PIXELS], dtype="float32")
        y = gl.data(name="y", shape=[None, 1], dtype="int64")
        hidden = gl.layers.fc(x, size=HIDDEN, act="relu")
        prob = gl.layers.softmax(gl.layers.fc(hidden, size=CLASSES))
        loss = gl.layers.mean(gl.layers.cross_entropy(prob, y))
        test = main.clone(for_test=True)
        gl.optimizer.SGD(learning_rate=RATE).minimize(loss)
    assert isinstance(prob, gl.Variable) and isinstance(loss, gl.Variable)
    return Model(main, startup, test, prob, loss)


@dataclass
class Curve:
    """Mean training loss and test accuracy, one number per epoch."""

    loss: list[float]
    accuracy: list[float]


def accuracy(exe: gl.Executor, model: Model, digits: Digits) -> float:
    (prob,) = exe.run(model.test, feed={"x": digits.test_x, "y": digits.test_y}, fetch_list=[model.prob.name])
    return float(np.mean(prob.argmax(axis=1) == digits.test_y[:, 0]))


def train(exe: gl.Executor, model: Model, digits: Digits, epochs: int, seed: int, console: Console) -> Curve:
    """Plain minibatch descent. The last batch of an epoch is smaller, and needs no other code."""
    rng = np.random.default_rng(seed)
    curve = Curve([], [])
    count = len(digits.train_x)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs)
        for _ in range(epochs):
            order = rng.permutation(count)
            total = 0.0
            for start in range(0, count, BATCH):
                rows = order[start : start + BATCH]
                feed = {"x": digits.train_x[rows], "y": digits.train_y[rows]}
                (value,) = exe.run(model.main, feed=feed, fetch_list=[model.loss])
                total += float(value.sum()) * len(rows)
            curve.loss.append(total / count)
            curve.accuracy.append(accuracy(exe, model, digits))
            description = f"loss {curve.loss[-1]:.4f}  accuracy {curve.accuracy[-1]:.2%}"
            progress.update(task, advance=1, description=description)
    return curve


def numpy_step(weights: list[Images], x: Images, y: Labels) -> float:
    """One training step as one writes it in NumPy, stable by hand; changes the weights in place."""
    w1, b1, w2, b2 = weights
    rows = np.arange(len(x))
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    logits -= logits.max(axis=1, keepdims=True)
    exp = np.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - logits[rows, y[:, 0]])
    gradient = exp / total
    gradient[rows, y[:, 0]] -= 1
    gradient /= len(x)
    back = (gradient @ w2.T) * (hidden > 0)
    for weight, change in zip(weights, (x.T @ back, back.sum(0), hidden.T @ gradient, gradient.sum(0)), strict=True):
        weight -= RATE * change
    return float(loss)


def eager_step(weights: list[gl.dygraph.VarBase], x: Images, y: Labels) -> float:
    """The same step in eager mode: each op at once, by its NumPy reference."""
    w1, b1, w2, b2 = weights
    hidden = gl.layers.relu(gl.dygraph.to_variable(x) @ w1 + b1)
    prob = gl.layers.softmax(hidden @ w2 + b2)
    loss = gl.layers.mean(gl.layers.cross_entropy(prob, gl.dygraph.to_variable(y)))
    loss.backward()
    for weight in weights:
        gradient = weight.gradient()
        assert gradient is not None  # each weight takes part in the loss
        weight.set_value(weight.numpy() - np.float32(RATE) * gradient)
        weight.clear_gradient()
    return float(loss.numpy().sum())


def best_times(calls: Mapping[str, Callable[[], object]], budget: float) -> dict[str, float]:
    """The shortest time of each call, over as many rounds as fit into `budget` seconds.

    The calls take turns, so that whatever else the machine does meets them all; the shortest is what it meets least.
    """
    best = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + budget
    rounds = 0
    while rounds < 10 or time.perf_counter() < end:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return best


def draw_curve(curve: Curve, path: Path) -> None:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    epochs = np.arange(1, len(curve.loss) + 1)
    (loss,) = left.semilogy(epochs, curve.loss, color="tab:blue", label="training loss")
    (hits,) = right.plot(epochs, curve.accuracy, color="tab:orange", label="test accuracy")
    left.set(xlabel="epoch", ylabel="cross entropy", title="UCI handwritten digits, two layers, SGD")
    right.set(ylabel="accuracy", ylim=(min(0.8, *curve.accuracy), 1))
    left.legend(handles=[loss, hits], loc="center right")
    figure.savefig(path, dpi=120)


def step_times(digits: Digits, console: Console) -> None:
    """Times one training step, all images at once: compiled, NumPy by hand, eager; the losses must agree first."""
    rng = np.random.default_rng(1)
    x, y = digits.train_x, digits.train_y
    shapes = ((PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
    start = [(rng.standard_normal(s) * 0.1).astype(np.float32) for s in shapes]

    model = build(seed=1)
    exe, scope = gl.Executor(gl.CPUPlace()), gl.Scope()
    exe.run(model.startup, scope=scope)
    for parameter, value in zip(model.main.all_parameters(), start, strict=True):
        scope.var(parameter.name).get_tensor().set(value, gl.CPUPlace())

    def compiled() -> float:
        (value,) = exe.run(model.main, feed={"x": x, "y": y}, fetch_list=[model.loss], scope=scope)
        return float(value.sum())

    by_hand = [w.copy() for w in start]
    with gl.dygraph.guard():
        eager = [gl.dygraph.to_variable(w) for w in start]
        for weight in eager:
            weight.stop_gradient = False
        calls: dict[str, Callable[[], float]] = {
            "compiled": compiled,
            "NumPy, by hand": lambda: numpy_step(by_hand, x, y),
            "eager": lambda: eager_step(eager, x, y),
        }
        losses = {name: [call() for _ in range(3)] for name, call in calls.items()}
        for name, values in losses.items():
            np.testing.assert_allclose(values, losses["NumPy, by hand"], rtol=1e-5, err_msg=name)
        times = best_times(calls, budget=1.5)
    show_times(f"one training step, {len(x)} images", times, console)


def loss_times(console: Console) -> None:
    """Times the loss alone, with its gradient: there the compiler has all the work."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal((8192, 1000), np.float32)
    labels = rng.integers(0, z.shape[1], (len(z), 1))
    main = gl.Program()
    with gl.program_guard(main):
        logits = gl.data(name="z", shape=[None, z.shape[1]], dtype="float32")
        y = gl.data(name="y", shape=[None, 1], dtype="int64")
        loss = gl.layers.mean(gl.layers.cross_entropy(gl.layers.softmax(logits), y))
        (gradient,) = gl.gradients([loss], [logits])
    assert gradient is not None
    exe = gl.Executor(gl.CPUPlace())

    def compiled() -> tuple[float, Images]:
        value, grad = exe.run(main, feed={"z": z, "y": labels}, fetch_list=[loss, gradient])
        return float(value.sum()), grad

    def by_hand() -> tuple[float, Images]:
        rows = np.arange(len(z))
        shifted = z - z.max(axis=1, keepdims=True)
        exp = np.exp(shifted)
        total = exp.sum(axis=1, keepdims=True)
        value = np.mean(np.log(total[:, 0]) - shifted[rows, labels[:, 0]])
        exp /= total
        exp[rows, labels[:, 0]] -= 1
        exp /= len(z)
        return float(value), exp

    def eager() -> tuple[float, Images]:
        with gl.dygraph.guard():
            v = gl.dygraph.to_variable(z)
            v.stop_gradient = False
            value = gl.layers.mean(gl.layers.cross_entropy(gl.layers.softmax(v), gl.dygraph.to_variable(labels)))
            value.backward()
            grad = v.gradient()
            assert grad is not None
            return float(value.numpy().sum()), grad

    calls: dict[str, Callable[[], tuple[float, Images]]] = {
        "compiled": compiled, "NumPy, by hand": by_hand, "eager": eager
    }  # fmt: skip
    want = by_hand()
    for call in calls.values():
        got = call()
        np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-9)
    times = best_times(calls, budget=3.0)
    show_times(f"the loss and its gradient, logits {z.shape}", times, console)


def show_times(title: str, times: Mapping[str, float], console: Console) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("ms", justify="right")
    table.add_column("compiled is", justify="right")
    for name, value in times.items():
        ratio = "" if name == "compiled" else f"{value / times['compiled']:.1f} times as fast"
        table.add_row(name, f"{1e3 * value:.3f}", ratio)
    console.print(table)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--output", type=Path, default=HERE / "output", help="folder for the pictures")
    options = arguments.parse_args()
    console = Console(highlight=False, width=120)

    digits = load(HERE / "data" / "digits.csv", options.seed)
    model = build(options.seed)
    explanation = gl.explain(model.main, fetch_list=[model.loss])
    console.rule("the program as written")
    print(explanation.before())
    console.rule("the program after the passes")
    print(explanation.after())
    console.rule("what the compiler did")
    print(explanation)

    console.rule("training")
    exe = gl.Executor(gl.CPUPlace())
    exe.run(model.startup)
    curve = train(exe, model, digits, options.epochs, options.seed, console)
    console.print(f"accuracy on {len(digits.test_x)} images never trained on: {curve.accuracy[-1]:.2%}")

    console.rule("compiled against eager")
    feed = {"x": digits.test_x, "y": digits.test_y}
    print(gl.compare(model.main, feed=feed, fetch_list=[model.loss, model.prob]))

    console.rule("time")
    step_times(digits, console)
    loss_times(console)

    options.output.mkdir(parents=True, exist_ok=True)
    draw_curve(curve, options.output / "training.png")
    gl.inspect.draw(model.main, options.output / "program.png", fetch_list=[model.loss])
    console.print(f"\npictures: {options.output / 'training.png'}, {options.output / 'program.png'}")


if __name__ == "__main__":
    main()
