"""Reading strips of digits with CTC: nobody says where one digit ends and the next begins.

Data: scikit-learn's handwritten digits (UCI, 8x8 pixels). A strip is several images side by side, with gaps or
overlapping; its label is the sequence of digits alone. Each column is a frame, which a small network sees with its
neighbours and gives scores for ten digits and the blank. Strips of different lengths are packed rows, none is padded.

The network trains on strips of three images in four, and reads strips of the others: by the best class of each
frame, and by a beam search, which adds up the ways in which the same digits can be read.

Run it as `python examples/ctc_strips.py [--output examples/output]`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import graphloss as gl

HERE = Path(__file__).parent
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

SIDE, AROUND, HIDDEN = 8, 5, 96  # pixels of a column; columns seen to the left and right; hidden units
BLANK, CLASSES = 10, 11
BATCH, STEPS = 32, 600
BEAM = 8


@dataclass(frozen=True)
class Strips:
    """Images [8, columns], and what stands on each."""

    images: list[Floats]
    labels: list[Labels]

    def feed(self) -> dict[str, gl.LoDTensor]:
        """Windows of columns, one row per frame, and labels, both packed."""
        frames = np.concatenate([windows(image) for image in self.images])
        columns = [image.shape[1] for image in self.images]
        digits = np.concatenate(self.labels)[:, None]
        return {
            "frames": gl.create_lod_tensor(frames, [columns], gl.CPUPlace()),
            "digits": gl.create_lod_tensor(digits, [[len(label) for label in self.labels]], gl.CPUPlace()),
        }


def windows(image: Floats) -> Floats:
    """Each column with its neighbours, [columns, pixels]."""
    padded = np.pad(image, ((0, 0), (AROUND, AROUND)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1, axis=1)
    return np.ascontiguousarray(seen.transpose(1, 0, 2).reshape(image.shape[1], -1))


def strips(images: Floats, digits: Labels, count: int, rng: np.random.Generator) -> Strips:
    """Strips of 3 to 7 images, each up to 3 columns behind the one before, or up to 2 columns over it."""
    made = Strips([], [])
    for _ in range(count):
        chosen = rng.integers(0, len(digits), rng.integers(3, 8))
        places = np.cumsum(rng.integers(-2, 4, len(chosen)) + SIDE) - SIDE + 2
        strip = np.zeros((SIDE, places[-1] + SIDE + rng.integers(0, 3)), np.float32)
        for place, image in zip(places, images[chosen], strict=True):
            under = strip[:, place : place + SIDE]
            np.maximum(under, image, out=under)
        made.images.append(strip)
        made.labels.append(digits[chosen])
    return made


def padded(rows: npt.NDArray[np.generic], offsets: list[int]) -> npt.NDArray[np.generic]:
    """Packed rows as [sequences, longest, …], 0 behind the end of each."""
    parts = np.split(rows, offsets[1:-1])
    whole = np.zeros((len(parts), max(map(len, parts)), *rows.shape[1:]), rows.dtype)
    for row, part in zip(whole, parts, strict=True):
        row[: len(part)] = part
    return whole


@dataclass(frozen=True)
class Model:
    """Programs, and what they compute for each frame or strip."""

    main: gl.Program
    startup: gl.Program
    test: gl.Program
    prob: gl.Tensor
    cost: gl.Tensor
    loss: gl.Tensor
    read: gl.Tensor
    errors: gl.Tensor


def build() -> Model:
    main, startup = gl.Program(), gl.Program()
    main.random_seed = startup.random_seed = 8
    with gl.program_guard(main, startup):
        frames = gl.data("frames", [None, SIDE * (2 * AROUND + 1)], "float32", lod_level=1)
        digits = gl.data("digits", [None, 1], "int64", lod_level=1)
        hidden = gl.layers.fc(frames, size=HIDDEN, act="relu")
        logits = gl.layers.fc(hidden, size=CLASSES)
        prob = gl.layers.softmax(logits)
        cost = gl.layers.warpctc(logits, digits, blank=BLANK)
        loss = gl.layers.mean(cost)
        read = gl.layers.ctc_greedy_decoder(prob, BLANK)
        errors, _ = gl.layers.edit_distance(read, digits, normalized=False)
        test = main.clone(for_test=True)
        gl.optimizer.Adam(learning_rate=0.005).minimize(loss)
    return Model(main, startup, test, prob, cost, loss, read, errors)


@gl.compile
def beam_errors(
    prob: gl.Tensor, frames: gl.Tensor, digits: gl.Tensor, counts: gl.Tensor
) -> tuple[gl.Tensor, gl.Tensor, gl.Tensor]:
    """What a beam search reads on each strip, how many digits that are, and the edit distance to the label.

    prob [N, T, C] and digits [N, S] are padded; frames and counts [N] say how much of them counts.
    """
    log_p = gl.layers.transpose(gl.layers.log(prob), [1, 0, 2])
    read, sizes, _ = gl.nn.functional.ctc_beam_search_decode(log_p, frames, blank=BLANK, beam_width=BEAM)
    distance, _ = gl.layers.edit_distance(
        read[:, 0], digits, normalized=False, input_length=sizes[:, 0], label_length=counts
    )
    return read[:, 0], sizes[:, 0], distance


def cost_by_hand(prob: npt.NDArray[np.float64], label: Labels) -> float:
    """CTC's loss of one strip, by its definition: a blank may stand before, between and behind the digits."""
    states = np.full(2 * len(label) + 1, BLANK)
    states[1::2] = label
    skips = np.zeros(len(states))  # 1 where the blank before a digit may be left out: behind another digit
    skips[3::2] = label[1:] != label[:-1]
    alpha = np.zeros(len(states))
    alpha[:2] = prob[0, states[:2]]
    for p in prob[1:]:
        step, skip = np.roll(alpha, 1), np.roll(alpha, 2)
        step[0] = 0
        alpha = (alpha + step + skips * skip) * p[states]
    return -float(np.log(alpha[-2:].sum()))


def draw(images: list[Floats], prob: list[Floats], titles: list[str], path: Path) -> None:
    """Strips, and below each column the probability of each digit."""
    figure = Figure(figsize=(11, 3.2 * len(images)), layout="constrained")
    longest = max(image.shape[1] for image in images)
    grid = figure.subplots(2 * len(images), 1, gridspec_kw={"height_ratios": [8, 9] * len(images)})
    for top, bottom, image, p, title in zip(grid[::2], grid[1::2], images, prob, titles, strict=True):
        top.imshow(image, cmap="gray_r", aspect="auto")
        bottom.imshow(p[:, :BLANK].T, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        top.set(title=title, xticks=[], yticks=[], xlim=(-0.5, longest - 0.5))
        bottom.set(ylabel="probability of", yticks=range(BLANK), xlim=(-0.5, longest - 0.5))
        bottom.tick_params(axis="y", labelsize=7)
    grid[-1].set(xlabel="column")
    figure.savefig(path, dpi=110)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, default=HERE / "output", help="folder for the picture")
    output: Path = arguments.parse_args().output

    pixels, digits = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, SIDE, SIDE) / 16).astype(np.float32)
    held_out = np.arange(len(digits)) % 4 == 0
    rng = np.random.default_rng(8)
    unseen = strips(images[held_out], digits[held_out], 300, rng)
    truth = [len(label) for label in unseen.labels]
    print(f"{len(truth)} strips to read, {sum(truth)} digits, of images never trained on")

    model, exe = build(), gl.Executor(gl.CPUPlace())
    exe.run(model.startup)
    for step in range(STEPS):
        batch = strips(images[~held_out], digits[~held_out], BATCH, rng)
        (loss,) = exe.run(model.main, feed=batch.feed(), fetch_list=[model.loss])
        if step % 100 == 0 or step == STEPS - 1:
            (wrong,) = exe.run(model.test, feed=unseen.feed(), fetch_list=[model.errors])
            print(f"  step {step + 1:3}: loss {loss.item():7.3f}, label error rate {wrong.sum() / sum(truth):7.2%}")

    fetches = [model.prob, model.cost, model.read, model.errors]
    prob, cost, read, errors = exe.run(model.test, feed=unseen.feed(), fetch_list=fetches, return_numpy=False)
    parts = np.split(np.array(prob), prob.lod()[0][1:-1])
    by_hand = [cost_by_hand(p.astype(np.float64), label) for p, label in zip(parts, unseen.labels, strict=True)]
    np.testing.assert_allclose(np.array(cost)[:, 0], by_hand, rtol=2e-3, atol=1e-4)

    packed = np.concatenate(unseen.labels)
    found, sizes, distance = beam_errors(
        padded(np.array(prob), prob.lod()[0]), np.diff(prob.lod()[0]),
        padded(packed, np.cumsum([0, *truth]).tolist()), np.array(truth),
    )  # fmt: skip
    greedy, beam = np.array(errors)[:, 0], distance[:, 0]
    for name, wrong in (("best class of each frame", greedy), (f"beam of {BEAM}", beam)):
        rate, right = wrong.sum() / sum(truth), (wrong == 0).mean()
        print(f"{name:<24} label error rate {rate:.2%}, {right:.1%} of the strips without an error")
    assert greedy.sum() / sum(truth) < 0.06
    assert beam.sum() <= greedy.sum() + 3

    # two strips that are read well, and the first that is not
    shown = [*np.argsort(np.where(greedy == 0, -np.array(truth), 0))[:2], *np.flatnonzero(greedy)[:1]]
    answers = np.split(np.array(read)[:, 0], read.lod()[0][1:-1])
    titles = [f"reads {_text(answers[i])}, is {_text(unseen.labels[i])}" for i in shown]
    for i in np.flatnonzero(greedy != beam)[:3]:
        best = _text(found[i, : sizes[i]])
        print(f"  {_text(unseen.labels[i])}: frame by frame {_text(answers[i])}, by the beam {best}")
    output.mkdir(parents=True, exist_ok=True)
    draw([unseen.images[i] for i in shown], [parts[i] for i in shown], titles, output / "ctc_strips.png")
    print(f"  {output / 'ctc_strips.png'}")


def _text(digits: Labels) -> str:
    return "".join(map(str, digits))


if __name__ == "__main__":
    main()
