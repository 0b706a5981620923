"""The kind of token that each character of a line of Python belongs to: a linear-chain CRF against guessing each alone.

Data: modules of the standard library of the Python that runs this, and `tokenize`, which tells the truth. A small
network sees a character with one neighbour on each side; that is not enough to know whether a letter stands in a
comment, a string or a name. A chain of kinds can tell, as it remembers what has begun. The same network is trained
once with each loss, on lines of different lengths as packed rows, and tried on modules that it has never seen.

Run it as `python examples/crf_tokens.py [--output examples/output]`.
"""

from __future__ import annotations

import argparse
import io
import keyword
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import graphloss as gl

HERE = Path(__file__).parent
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

KINDS = ("space", "keyword", "name", "number", "operator", "string", "comment")
LETTERS = "_KN0OSC"  # how an example line shows the kinds
SPACE, KEYWORD, NAME, NUMBER, OPERATOR, STRING, COMMENT = range(len(KINDS))
TRAINING = """
    argparse cmd code codeop contextlib copy csv dataclasses difflib filecmp fnmatch getopt glob inspect linecache
    locale mailbox operator pickle pprint queue random reprlib sched selectors socket string subprocess tarfile
    tempfile threading timeit tokenize traceback types uuid weakref zipfile
"""
# Numbers are rare, and three in four of those held out are in statistics: coefficients with _ and an exponent, a form
# that the others hardly use. Both models are poor at them.
HELD_OUT = "bisect calendar fractions heapq shlex statistics textwrap"

AROUND, CHARACTERS = 1, 128  # neighbours to the left and right; 0 is beyond the line, 127 whatever is not ASCII
EMBEDDING, HIDDEN = 16, 64
LONGEST, BATCH, STEPS = 80, 64, 600


@dataclass(frozen=True)
class Line:
    """A line of source, and the kind of each character."""

    text: str
    kinds: Labels


def tokens(source: str) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """Kind, begin and end of each token; an f-string is one string in each release of Python."""
    nested: list[tuple[int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":
            nested.append(token.start)
        elif name == "FSTRING_END":
            begin = nested.pop()
            if not nested:
                yield STRING, begin, token.end
        elif nested:
            continue
        elif name == "NAME":
            yield KEYWORD if keyword.iskeyword(token.string) else NAME, token.start, token.end
        elif name.lower() in ("number", "string", "comment"):
            yield KINDS.index(name.lower()), token.start, token.end
        elif name == "OP":
            yield OPERATOR, token.start, token.end


def lines_of(module: str) -> list[Line]:
    """The lines of a module, but for those of strings of several lines, which nobody could tell one by one."""
    path = Path(sysconfig.get_paths()["stdlib"]) / module
    with tokenize.open(path / "__init__.py" if path.is_dir() else path.with_suffix(".py")) as file:
        source = file.read()
    lines = [Line(text, np.full(len(text), SPACE, np.int64)) for text in source.split("\n")]
    left_out = {row for row, line in enumerate(lines, 1) if not line.text.strip() or len(line.text) > LONGEST}
    for kind, (row, column), (last, end) in tokens(source):
        if row != last:
            left_out.update(range(row, last + 1))
        lines[row - 1].kinds[column:end] = kind
    return [line for row, line in enumerate(lines, 1) if row not in left_out]


def feed(lines: list[Line]) -> dict[str, gl.LoDTensor]:
    """A row for each character, with its neighbours, and its kind; both packed."""
    rows = []
    for line in lines:
        codes = np.pad([min(ord(c), CHARACTERS - 1) for c in line.text], AROUND)
        rows.append(np.lib.stride_tricks.sliding_window_view(codes, 2 * AROUND + 1))
    lengths = [[len(line.text) for line in lines]]
    kinds = np.concatenate([line.kinds for line in lines])[:, None]
    return {
        "seen": gl.create_lod_tensor(np.concatenate(rows).astype(np.int64), lengths, gl.CPUPlace()),
        "kinds": gl.create_lod_tensor(kinds, lengths, gl.CPUPlace()),
    }


@dataclass(frozen=True)
class Model:
    """Programs, and what they compute: a cost for each line or character, and the kind of each character."""

    main: gl.Program
    startup: gl.Program
    test: gl.Program
    scores: gl.Tensor
    cost: gl.Tensor
    loss: gl.Tensor
    found: gl.Tensor


def build(chain: bool) -> Model:
    main, startup = gl.Program(), gl.Program()
    main.random_seed = startup.random_seed = 5
    with gl.program_guard(main, startup):
        seen = gl.data("seen", [None, 2 * AROUND + 1], "int64", lod_level=1)
        kinds = gl.data("kinds", [None, 1], "int64", lod_level=1)
        characters = gl.embedding(seen, size=[CHARACTERS, EMBEDDING])
        hidden = gl.layers.fc(characters, size=HIDDEN, act="relu")
        scores = gl.layers.fc(hidden, size=len(KINDS))
        if chain:
            cost = gl.layers.linear_chain_crf(scores, kinds, gl.ParamAttr(name="chain"))
            found = gl.layers.crf_decoding(scores, gl.ParamAttr(name="chain"))
        else:
            each = gl.layers.softmax_with_cross_entropy(scores, kinds)
            assert isinstance(each, gl.Tensor)
            cost, found = each, gl.layers.argmax(scores, axis=1)
        loss = gl.layers.mean(cost)
        test = main.clone(for_test=True)
        gl.optimizer.Adam(learning_rate=0.01).minimize(loss)
    return Model(main, startup, test, scores, cost, loss, found)


def train(model: Model, exe: gl.Executor, lines: list[Line]) -> None:
    exe.run(model.startup)
    rng = np.random.default_rng(5)
    for step in range(STEPS):
        batch = [lines[i] for i in rng.integers(0, len(lines), BATCH)]
        (loss,) = exe.run(model.main, feed=feed(batch), fetch_list=[model.loss])
        if step % 200 == 0 or step == STEPS - 1:
            print(f"  step {step + 1:3}: loss {loss.item():.3f}")


def by_hand(scores: Floats, weights: Floats, kinds: Labels) -> tuple[float, Labels]:
    """−ln p of the kinds of one line, and the most probable kinds, by their definitions."""
    x, (start, end, *rest) = scores.astype(np.float64), weights.astype(np.float64)
    after = np.array(rest)  # [i, j]: kind j behind kind i
    total, best, came = start + x[0], start + x[0], []
    for row in x[1:]:
        total = np.logaddexp.reduce(total[:, None] + after, axis=0) + row
        ways = best[:, None] + after
        came.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + row
    path = [int((best + end).argmax())]
    for back in reversed(came):
        path.append(int(back[path[-1]]))
    score = start[kinds[0]] + end[kinds[-1]] + after[kinds[:-1], kinds[1:]].sum()
    score += x[np.arange(len(kinds)), kinds].sum()
    return float(np.logaddexp.reduce(total + end) - score), np.array(path[::-1])


def most_without_memory(seen: Labels, kinds: Labels) -> float:
    """The share that is right if whoever sees a window says its most frequent kind among these very characters."""
    _, which = np.unique(seen, axis=0, return_inverse=True)
    counts = np.zeros((len(seen), len(KINDS)), np.int64)
    np.add.at(counts, (which.reshape(-1), kinds), 1)
    return float(counts.max(axis=1).sum() / len(kinds))


def draw(weights: Floats, path: Path) -> None:
    """What the chain has learned: how well each kind follows each other one."""
    figure = Figure(figsize=(6.5, 6.5), layout="constrained")
    axes = figure.subplots()
    limit = np.abs(weights).max()
    axes.imshow(weights, cmap="RdBu", vmin=-limit, vmax=limit)
    for (i, j), weight in np.ndenumerate(weights):
        axes.text(j, i, f"{weight:.1f}", ha="center", va="center", color="w" if abs(weight) > limit / 2 else "k")
    rows = ["(begins)", "(ends)", *KINDS]
    axes.set(xticks=range(len(KINDS)), yticks=range(len(rows)), xlabel="kind", ylabel="kind before it")
    axes.set_xticklabels(KINDS, rotation=40)
    axes.set_yticklabels(rows)
    figure.savefig(path, dpi=110)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, default=HERE / "output", help="folder for the picture")
    output: Path = arguments.parse_args().output

    known = [line for module in TRAINING.split() for line in lines_of(module)]
    unseen = [line for module in HELD_OUT.split() for line in lines_of(module)]
    print(f"{len(known)} lines to learn from, and {len(unseen)} to label: {HELD_OUT}")

    exe = gl.Executor(gl.CPUPlace())
    models = {"per character": build(chain=False), "chain": build(chain=True)}
    for name, model in models.items():
        print(name)
        train(model, exe, known)

    truth = np.concatenate([line.kinds for line in unseen])
    ends = np.cumsum([len(line.text) for line in unseen])[:-1]
    found: dict[str, Labels] = {}
    for name, model in models.items():
        (rows,) = exe.run(model.test, feed=feed(unseen), fetch_list=[model.found], return_numpy=False)
        found[name] = np.array(rows).reshape(-1)
    alone, chained = found["per character"] == truth, found["chain"] == truth

    # the cost and the kinds of each line, against their definitions in NumPy
    model = models["chain"]
    fetches: list[gl.Tensor | str] = [model.scores, model.cost, "chain"]
    scores, cost, chain = (np.array(v) for v in exe.run(model.test, feed(unseen), fetches, return_numpy=False))
    checked = [
        by_hand(x, chain, line.kinds) for x, line in zip(np.split(scores, ends)[:200], unseen[:200], strict=True)
    ]
    np.testing.assert_allclose(cost[:200, 0], [value for value, _ in checked], rtol=1e-3, atol=1e-3)
    paths = np.concatenate([path for _, path in checked])
    assert (found["chain"][: len(paths)] == paths).mean() > 0.999  # two ways may be equal but for rounding

    print(f"{len(truth)} characters never trained on, labelled rightly:")
    print(f"  {'':<16} {'share':>7} {'per character':>14} {'chain':>7}")
    for kind, name in enumerate(KINDS):
        of = truth == kind
        print(f"  {name:<16} {of.mean():7.1%} {alone[of].mean():14.1%} {chained[of].mean():7.1%}")
    print(f"  {'all characters':<16} {1:7.1%} {alone.mean():14.1%} {chained.mean():7.1%}")
    whole = [np.mean([part.all() for part in np.split(right, ends)]) for right in (alone, chained)]
    print(f"  {'all of a line':<16} {'':>7} {whole[0]:14.1%} {whole[1]:7.1%}")
    limit = most_without_memory(np.array(feed(unseen)["seen"]), truth)
    print(f"No function of a character and its neighbours gets more than {limit:.1%} of these right.")
    assert chained.mean() > 0.92
    assert alone.mean() <= limit < chained.mean() - 0.06
    assert chained.mean() > alone.mean() + 0.12
    assert whole[1] > whole[0] + 0.4

    # of the lines with the most kinds, the one where the chain helps most
    gain = [b.sum() - a.sum() for a, b in zip(np.split(alone, ends), np.split(chained, ends), strict=True)]
    shown = max(range(len(unseen)), key=lambda i: (len(set(unseen[i].kinds)), gain[i]))
    print(f"{'line':<14} {unseen[shown].text}\n{'truth':<14} {_letters(unseen[shown].kinds)}")
    for name, kinds in found.items():
        print(f"{name:<14} {_letters(np.split(kinds, ends)[shown])}")

    output.mkdir(parents=True, exist_ok=True)
    draw(chain, output / "crf_tokens.png")
    print(f"  {output / 'crf_tokens.png'}")


def _letters(kinds: Labels) -> str:
    return "".join(LETTERS[kind] for kind in kinds)


if __name__ == "__main__":
    main()
