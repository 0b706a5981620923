"""Segmentation with cross entropy plus Dice: which pixels of a photograph belong to the flower.

Data: `flower.jpg` from scikit-learn's package, a dahlia before dark leaves, 427x640, CC BY 2.0. The truth is told by
colour, red well above blue; the model sees grey levels only, in a window around each pixel. It learns from
the left half of the flower and is tested on the right half.

Run it as `python examples/segmentation.py [--output examples/output]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import graphloss as gl

HERE = Path(__file__).parent
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

STEP, RADIUS, HIDDEN, STEPS = 4, 4, 24, 100


def load() -> tuple[Floats, Floats, Labels]:
    """The photograph on every fourth pixel [H, W, 3], the grey windows [H, W, P], the truth [H, W]."""
    colour = (load_sample_image("flower.jpg")[::STEP, ::STEP] / 255).astype(np.float32)
    truth = (colour[..., 0] - colour[..., 2] > 0.25).astype(np.int64)
    grey = colour.mean(axis=2)
    padded = np.pad(grey, RADIUS, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * RADIUS + 1, 2 * RADIUS + 1))
    return colour, windows.reshape(*grey.shape, -1) - np.float32(0.3), truth


def iou(mask: Labels, truth: Labels) -> float:
    """Pixels in both over pixels in either."""
    return float((mask & truth).sum() / (mask | truth).sum())


def train(windows: Floats, truth: Labels, dice_weight: float, middle: int) -> Floats:
    """Trains on the columns left of the middle; the probability that a pixel is of the flower, for all of them."""
    program, startup = gl.Program(), gl.Program()
    program.random_seed = startup.random_seed = 3
    with gl.program_guard(program, startup):
        x = gl.data(name="x", shape=[None, None, None, windows.shape[-1]], dtype="float32")
        y = gl.data(name="y", shape=[None, None, None], dtype="int64")
        hidden = gl.layers.fc(x, size=HIDDEN, num_flatten_dims=3, act="relu")
        scores = gl.layers.fc(hidden, size=2, num_flatten_dims=3)
        logits = gl.layers.transpose(scores, [0, 3, 1, 2])  # the loss has its classes on axis 1
        prob = gl.layers.softmax(scores)
        loss = gl.losses.dice_cross_entropy_loss(logits, y, dice_weight=dice_weight)
        evaluation = program.clone(for_test=True)
        gl.optimizer.Adam(learning_rate=0.01).minimize(loss)
    exe = gl.Executor(gl.CPUPlace())
    with gl.scope_guard(gl.Scope()):
        exe.run(startup)
        # another width of the image needs no other program, and no other compilation
        left = {"x": windows[None, :, :middle], "y": truth[None, :, :middle]}
        (first,) = exe.run(evaluation, feed=left, fetch_list=[loss])
        for _ in range(STEPS):
            (last,) = exe.run(program, feed=left, fetch_list=[loss])
        p, value = exe.run(evaluation, feed={"x": windows[None], "y": truth[None]}, fetch_list=[prob, loss])
    print(f"  cross entropy + {dice_weight:g}·Dice: {first.item():.4f}, after {STEPS} steps {last.item():.4f}")
    np.testing.assert_allclose(value, by_hand(p[0].astype(np.float64), truth, dice_weight), rtol=1e-4)
    whole: Floats = p[0, :, :, 1]
    return whole


def by_hand(p: npt.NDArray[np.float64], truth: Labels, dice_weight: float) -> float:
    """The loss in NumPy, of probabilities [H, W, 2]."""
    t = np.eye(2)[truth]
    smooth, axes = 1e-5, (0, 1)
    dice = 1 - (2 * (p * t).sum(axis=axes) + smooth) / (p.sum(axis=axes) + t.sum(axis=axes) + smooth)
    return float(dice_weight * dice.mean() - np.log((p * t).sum(axis=2)).mean())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, default=HERE / "output", help="folder for the picture")
    output: Path = arguments.parse_args().output

    colour, windows, truth = load()
    middle = 77  # the flower's
    print(f"{truth.shape[0]}x{truth.shape[1]} pixels, {truth.mean():.1%} of them flower")
    masks = {}
    for name, weight in (("cross entropy", 0.0), ("cross entropy + Dice", 1.0)):
        masks[name] = train(windows, truth, weight, middle)
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    panels: list[tuple[str, npt.NDArray[Any]]] = [("photograph", colour), ("truth, by colour", truth), *masks.items()]
    for axes, (name, image) in zip(figure.subplots(2, 2).ravel(), panels, strict=True):
        axes.imshow(image, vmin=0, vmax=1, cmap="viridis")
        axes.axvline(middle - 0.5, color="white", linestyle=":")
        title = name
        if name in masks:
            found = (image > 0.5).astype(np.int64)
            score = iou(found[:, middle:], truth[:, middle:])
            title += f": IoU {score:.3f} right of the line"
            print(f"  {name}: IoU {iou(found[:, :middle], truth[:, :middle]):.3f} seen, {score:.3f} not seen")
            assert score > 0.8
        axes.set(title=title, xticks=[], yticks=[])
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "segmentation.png", dpi=110)
    print(f"  {output / 'segmentation.png'}")


if __name__ == "__main__":
    main()
