"""A small language model over the tokens of Python's standard library, with five output layers side by side.

Data: modules of the standard library of the Python that runs this, cut into tokens by `tokenize`. The model sees the
three tokens before and predicts the next one, out of some thousands. What differs is the loss: the full softmax, the
sampled softmax, noise-contrastive estimation, a hierarchical and an adaptive softmax. Each is trained for the same
number of steps, and compared by the perplexity on modules that it has never seen, the time of a step, and the memory
that a step takes beyond its parameters.

Run it as `python examples/language_model.py [--output examples/output]`.
"""

from __future__ import annotations

import argparse
import io
import sysconfig
import time
import tokenize
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import graphloss as gl

HERE = Path(__file__).parent
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

TRAINING = """
    argparse cmd code codeop contextlib copy csv dataclasses difflib filecmp fnmatch getopt glob inspect linecache
    locale mailbox operator pickle pprint queue random reprlib sched selectors socket string subprocess tarfile
    tempfile threading timeit tokenize traceback types uuid weakref zipfile
"""
HELD_OUT = "bisect calendar fractions heapq shlex statistics textwrap"
CLASSES, CONTEXT, WIDTH, HIDDEN = 5_000, 3, 32, 64
BATCH, STEPS, RATE = 256, 1_000, 1.0
UNKNOWN = 0
DRAWN = ("sampled", "NCE")  # other classes are drawn in each step


def words(modules: str) -> list[str]:
    """The tokens of these modules, one after the other; comments and strings by their kind only."""
    found: list[str] = []
    for module in modules.split():
        text = (Path(sysconfig.get_paths()["stdlib"]) / f"{module}.py").read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = tokenize.tok_name[token.type]
            found.append(token.string if kind in ("NAME", "OP", "NUMBER") else kind)
    return found


def windows(ids: Labels) -> tuple[Labels, Labels]:
    """The tokens before, [N, 3], and the token that follows, [N]."""
    seen = np.stack([ids[i : len(ids) - CONTEXT + i] for i in range(CONTEXT)], 1)
    return seen, ids[CONTEXT:]


@dataclass(frozen=True)
class Model:
    """A program that trains, and how to tell the mean of -log p of held-out tokens afterwards."""

    name: str
    main: gl.Program
    startup: gl.Program
    loss: gl.Tensor
    negative_log_p: Callable[[gl.Executor, gl.Scope, Labels, Labels], float]


def build(name: str) -> Model:
    main, startup = gl.Program(), gl.Program()
    startup.random_seed = 1
    with gl.unique_name.guard(), gl.program_guard(main, startup):
        seen, following = gl.data("seen", [None, CONTEXT], "int64"), gl.data("following", [None, 1], "int64")
        step = gl.data("step", [1], "int64")
        rows = gl.embedding(gl.layers.reshape(seen, [-1, 1]), [CLASSES, WIDTH])
        hidden = gl.layers.fc(gl.layers.reshape(rows, [-1, CONTEXT * WIDTH]), HIDDEN, act="tanh")
        plain = main.clone(for_test=True)
        loss, exact = OUTPUTS[name](hidden, following, step)
        test = main.clone(for_test=True)
        gl.optimizer.SGD(RATE).minimize(loss)

    def by_program(exe: gl.Executor, scope: gl.Scope, before: Labels, after: Labels) -> float:
        assert exact is not None
        feed = {"seen": before, "following": after[:, None]}
        return float(np.mean(exe.run(test, feed, [exact], scope=scope)[0]))

    def by_weights(exe: gl.Executor, scope: gl.Scope, before: Labels, after: Labels) -> float:
        h = exe.run(plain, {"seen": before}, [hidden], scope=scope)[0].astype(np.float64)
        weight, bias = (np.array(scope.var(n).get_tensor(), np.float64) for n in ("out_w", "out_b"))
        scores = h @ weight.T + bias.ravel()
        if name == "NCE":  # Fluid's takes sigmoid(score) for the probability of a class
            scores = -np.logaddexp(0.0, -scores)
        top = scores.max(1)
        log_z = np.log(np.exp(scores - top[:, None]).sum(1)) + top
        return float(np.mean(log_z - scores[np.arange(len(after)), after]))

    return Model(name, main, startup, loss, by_weights if exact is None else by_program)


Output = Callable[[gl.Tensor, gl.Tensor, gl.Tensor], tuple[gl.Tensor, gl.Tensor | None]]


def table() -> tuple[gl.Tensor, gl.Tensor]:
    """Weights [classes, hidden] and biases of an output layer."""
    weight = gl.layers.create_parameter([CLASSES, HIDDEN], "float32", name="out_w")
    bias = gl.layers.create_parameter([CLASSES], "float32", name="out_b", is_bias=True)
    return weight, bias


def full(h: gl.Tensor, y: gl.Tensor, step: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor | None]:
    weight, bias = table()
    target = gl.layers.squeeze(y, [1])
    return gl.nn.functional.linear_cross_entropy(h, weight, target, linear_bias=bias), None


def sampled(h: gl.Tensor, y: gl.Tensor, step: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor | None]:
    weight, bias = table()
    target = gl.layers.squeeze(y, [1])
    return gl.losses.sampled_softmax_loss(h, target, weight, bias, num_samples=64, seed=7, step=step), None


def nce(h: gl.Tensor, y: gl.Tensor, step: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor | None]:
    weight = gl.ParamAttr(name="out_w")
    bias = gl.ParamAttr(name="out_b", initializer=gl.initializer.Constant(-float(np.log(CLASSES))))
    cost = gl.layers.nce(
        h, y, CLASSES, param_attr=weight, bias_attr=bias, num_neg_samples=16, sampler="log_uniform", seed=7, step=step
    )
    return gl.layers.mean(cost) * 17.0, None  # the layer divides by the negatives and the label


def hierarchical(h: gl.Tensor, y: gl.Tensor, step: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor | None]:
    cost = gl.layers.hsigmoid(h, y, CLASSES)
    return gl.layers.mean(cost), cost


def adaptive(h: gl.Tensor, y: gl.Tensor, step: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor | None]:
    layer = gl.nn.AdaptiveLogSoftmaxWithLoss(HIDDEN, CLASSES, cutoffs=[500, 2_000])
    output, loss = layer(h, gl.layers.squeeze(y, [1]))
    return loss, -output


OUTPUTS: dict[str, Output] = {
    "full": full, "sampled": sampled, "NCE": nce, "hierarchical": hierarchical, "adaptive": adaptive
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    name: str
    steps: list[int]
    perplexity: list[float]
    loss: float
    milliseconds: float
    memory: float


def train(model: Model, seen: Labels, following: Labels, held_out: tuple[Labels, Labels]) -> Result:
    exe, scope, rng = gl.Executor(), gl.Scope(), np.random.default_rng(3)
    exe.run(model.startup, scope=scope)

    def feed(n: int) -> dict[str, Labels]:
        rows = rng.integers(0, len(following), BATCH)
        chosen = {"seen": seen[rows], "following": following[rows, None]}
        return {**chosen, "step": np.array([n])} if model.name in DRAWN else chosen

    seconds, losses, steps, perplexity = [], [], [], []
    for n in range(STEPS):
        batch = feed(n)
        begin = time.perf_counter()
        value = exe.run(model.main, batch, [model.loss], scope=scope)[0]
        seconds.append(time.perf_counter() - begin)
        losses.append(value.item())
        if n % 250 == 249:
            steps.append(n + 1)
            perplexity.append(float(np.exp(model.negative_log_p(exe, scope, *held_out))))
    batch = feed(STEPS)
    tracemalloc.start()
    exe.run(model.main, batch, [model.loss], scope=scope)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Result(
        model.name, steps, perplexity, float(np.mean(losses[-100:])), 1e3 * float(np.median(seconds)), peak / 2**20
    )


def picture(results: list[Result], unigram: float, path: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for r in results:
        left.plot(r.steps, r.perplexity, marker="o", label=r.name)
    left.axhline(unigram, color="gray", linestyle=":", label="frequencies alone")
    left.set(xlabel="steps of 256 tokens", ylabel="perplexity, held out", yscale="log")
    left.legend(fontsize=8)
    right.barh([r.name for r in results], [r.milliseconds for r in results])
    right.invert_yaxis()
    right.set(xlabel="milliseconds a step")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE / "output", help="folder of the picture")
    output: Path = parser.parse_args().output
    text, other = words(TRAINING), words(HELD_OUT)
    counts = Counter(text)
    known = {word: i + 1 for i, (word, _) in enumerate(counts.most_common(CLASSES - 1))}
    ids, held = (np.array([known.get(w, UNKNOWN) for w in part], np.int64) for part in (text, other))
    seen, following = windows(ids)
    held_out = windows(held[:4_000])
    share = (np.bincount(ids, minlength=CLASSES) + 1) / (len(ids) + CLASSES)
    unigram = float(np.exp(-np.log(share[held_out[1]]).mean()))
    print(f"{len(ids)} tokens of {len(known) + 1} kinds; by their frequencies alone, perplexity {unigram:.0f}")

    results = [train(build(name), seen, following, held_out) for name in OUTPUTS]
    print(f"{'':14}{'own loss':>10}{'perplexity':>12}{'ms a step':>11}{'MB a step':>11}")
    for r in results:
        print(f"  {r.name:12}{r.loss:10.3f}{r.perplexity[-1]:12.1f}{r.milliseconds:11.2f}{r.memory:11.2f}")
    picture(results, unigram, output / "language_model.png")
    print(f"  {output / 'language_model.png'}")

    for r in results:
        assert r.perplexity[-1] < 0.8 * unigram, r
        assert r.perplexity[-1] < r.perplexity[0], r


if __name__ == "__main__":
    main()
