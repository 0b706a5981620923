"""A detection head as in Fast R-CNN: weighted cross entropy of the classes plus smooth L1 of the boxes.

Data: scikit-learn's handwritten digits (UCI), each put somewhere on a canvas of 16x16 pixels. Windows of 10x10 pixels
are the proposals. A window that overlaps the digit's box (where there is ink) enough is of the digit's class, with
four numbers that move and scale it to the box; every other window is background, which no box belongs to.

Run it as `python examples/detection.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

import graphloss as gl

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

CANVAS, WINDOW, PROPOSALS = 16, 10, 4
CLASSES, BACKGROUND = 11, 0  # digit d is class d + 1
SPREAD = np.array([0.1, 0.1, 0.2, 0.2], np.float32)  # what a typical offset is divided by
BATCH, EPOCHS = 128, 15


@dataclass(frozen=True)
class Windows:
    pixels: Floats  # [N, 100]
    place: Floats  # [N, 4]: left, top, width, height
    truth: Floats  # [N, 4]: the box of the digit
    label: Labels  # [N, 1]
    offset: Floats  # [N, 4]: 0 for background

    def rows(self, chosen: npt.NDArray[Any]) -> Windows:
        return Windows(*(v[chosen] for v in (self.pixels, self.place, self.truth, self.label, self.offset)))


def overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (left, top, width, height), row by row."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    both = np.maximum(high - low, 0).prod(axis=1)
    either = a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - both
    return np.asarray(both / either, np.float32)


def offsets(place: Floats, truth: Floats) -> Floats:
    """How far to the box's centre, in window sizes, and the logarithm of how much larger it is."""
    centre = (truth[:, :2] + truth[:, 2:] / 2 - place[:, :2] - place[:, 2:] / 2) / place[:, 2:]
    return np.asarray(np.concatenate([centre, np.log(truth[:, 2:] / place[:, 2:])], axis=1) / SPREAD, np.float32)


def moved(place: Floats, offset: Floats) -> Floats:
    """The inverse of `offsets`."""
    step = offset * SPREAD
    size = place[:, 2:] * np.exp(step[:, 2:])
    corner = place[:, :2] + place[:, 2:] / 2 + step[:, :2] * place[:, 2:] - size / 2
    return np.concatenate([corner, size], axis=1)


def load(seed: int) -> Windows:
    images, digits = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    pixels, place, truth, label = [], [], [], []
    for image, digit in zip(images.reshape(-1, 8, 8) / 16, digits, strict=True):
        left, top = rng.integers(0, CANVAS - 8 + 1, 2)
        canvas = np.zeros((CANVAS, CANVAS))
        canvas[top : top + 8, left : left + 8] = image
        rows, columns = np.nonzero(canvas > 0.25)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        near = np.clip(np.add((left, top), rng.integers(-3, 2, 2)), 0, CANVAS - WINDOW)
        anywhere = rng.integers(0, CANVAS - WINDOW + 1, (PROPOSALS - 1, 2))
        for x, y in (near, *anywhere):
            pixels.append(canvas[y : y + WINDOW, x : x + WINDOW].ravel())
            place.append((x, y, WINDOW, WINDOW))
            truth.append(box)
            label.append([digit + 1])
    windows, boxes = np.array(place, np.float32), np.array(truth, np.float32)
    found = overlap(windows, boxes)[:, None] > 0.35
    return Windows(
        np.array(pixels, np.float32), windows, boxes, np.where(found, np.array(label), BACKGROUND),
        np.where(found, offsets(windows, boxes), 0).astype(np.float32),
    )  # fmt: skip


def by_hand(p: Floats, predicted: Floats, w: Windows) -> float:
    """The loss in NumPy."""
    digit = w.label[:, 0] != BACKGROUND
    classes = -np.log(np.take_along_axis(p, w.label, axis=1)[:, 0]) * np.where(digit, 1, 0.5)
    d = np.abs(predicted - w.offset)
    boxes = np.where(d < 1, d**2 / 2, d - 0.5).sum(axis=1) * digit
    return float(classes.mean() + 0.5 * boxes.mean())


def main() -> None:
    data = load(seed=4)
    # the windows of a digit stay together: none of a tested digit is trained on
    test = np.arange(len(data.label)) // PROPOSALS % 5 == 0
    train, unseen = data.rows(~test), data.rows(test)
    background = float((train.label == BACKGROUND).mean())
    print(f"{len(data.label)} windows, {background:.0%} background")

    program, startup = gl.Program(), gl.Program()
    program.random_seed = startup.random_seed = 4
    with gl.program_guard(program, startup):
        x = gl.data(name="x", shape=[None, WINDOW**2], dtype="float32")
        label = gl.data(name="label", shape=[None, 1], dtype="int64")
        offset = gl.data(name="offset", shape=[None, 4], dtype="float32")
        inside = gl.data(name="inside", shape=[None, 4], dtype="float32")  # 1 for windows of a digit
        weight = gl.data(name="weight", shape=[None, 1], dtype="float32")
        hidden = gl.layers.fc(x, size=96, act="relu")
        prob = gl.layers.softmax(gl.layers.fc(hidden, size=CLASSES))
        move = gl.layers.fc(hidden, size=4)
        classes = gl.layers.reduce_mean(gl.layers.cross_entropy(prob, label) * weight)
        box_costs = gl.layers.smooth_l1(move, offset, inside_weight=inside, outside_weight=inside)
        boxes = gl.layers.reduce_mean(box_costs)
        loss = classes + 0.5 * boxes
        evaluation = program.clone(for_test=True)
        gl.optimizer.Adam(learning_rate=0.003).minimize(loss)

    def feed(w: Windows) -> dict[str, npt.NDArray[Any]]:
        digit = (w.label != BACKGROUND).astype(np.float32)
        # background is common, so it counts half
        return {"x": w.pixels, "label": w.label, "offset": w.offset, "inside": np.repeat(digit, 4, axis=1),
                "weight": 0.5 + 0.5 * digit}  # fmt: skip

    exe = gl.Executor(gl.CPUPlace())
    exe.run(startup)
    rng = np.random.default_rng(4)
    for epoch in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(train.label)), len(train.label) // BATCH):
            exe.run(program, feed=feed(train.rows(rows)), fetch_list=[loss])
        if epoch in (0, 4, 9, EPOCHS - 1):
            parts = exe.run(evaluation, feed=feed(train), fetch_list=[loss, classes, boxes])
            total, a, b = (float(v.item()) for v in parts)
            np.testing.assert_allclose(total, a + 0.5 * b, rtol=1e-5)
            print(f"  epoch {epoch + 1:2}: loss {total:.4f} = classes {a:.4f} + 0.5 · boxes {b:.4f}")

    p, predicted, value = exe.run(evaluation, feed=feed(unseen), fetch_list=[prob, move, loss])
    np.testing.assert_allclose(value, [by_hand(p, predicted, unseen)], rtol=1e-4)
    answer, right = p.argmax(axis=1), unseen.label[:, 0]
    digit = right != BACKGROUND
    before = overlap(unseen.place[digit], unseen.truth[digit]).mean()
    after = overlap(moved(unseen.place, predicted)[digit], unseen.truth[digit]).mean()
    print("windows of digits never trained on:")
    hits = answer == right
    print(f"  class right: {hits.mean():.1%}, of the {digit.sum()} with a digit {hits[digit].mean():.1%}")
    print(f"  overlap with the digit's box: window {before:.3f}, moved and scaled {after:.3f}")
    assert hits.mean() > 0.8
    assert after > before + 0.15


if __name__ == "__main__":
    main()
