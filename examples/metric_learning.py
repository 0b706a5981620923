"""Metric learning: an embedding into four dimensions in which images of one digit are near each other.

Data: scikit-learn's handwritten digits (UCI). Four fifths of the images train three embeddings, each with another
loss; the rest tests them: how many of an image's five nearest neighbours are of its digit, compared with the first
four principal components.

Run it as `python examples/metric_learning.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

import graphloss as gl

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Loss = Callable[[gl.Tensor, gl.Tensor], gl.Tensor]

DIMENSIONS, ANCHORS, STEPS = 4, 80, 250


def thirds(v: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor, gl.Tensor]:
    """Anchors, images of the anchors' digits, images of other digits."""
    parts = gl.layers.reshape(v, [3, -1, DIMENSIONS])
    return parts[0], parts[1], parts[2]


def triplets(v: gl.Tensor, y: gl.Tensor) -> gl.Tensor:
    """The other digit has to be farther than the same digit, by a margin."""
    return gl.nn.functional.triplet_margin_loss(*thirds(v), margin=0.5)


def cosines(v: gl.Tensor, y: gl.Tensor) -> gl.Tensor:
    """The cosine of a pair: 1 for the same digit, at most the margin for others."""
    anchor, same, other = thirds(v)
    yes = gl.layers.ones_like(gl.layers.reduce_sum(anchor, dim=1))
    together = gl.nn.functional.cosine_embedding_loss(anchor, same, yes)
    return together + gl.nn.functional.cosine_embedding_loss(anchor, other, -yes, margin=0.2)


def contrastive(v: gl.Tensor, y: gl.Tensor) -> gl.Tensor:
    """Each image against all others of the batch."""
    return gl.losses.supervised_contrastive_loss(v, y, temperature=0.2)


def batch(y: Labels, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows of y: anchors, as many of the same digits, as many of other digits."""
    anchors = rng.integers(0, len(y), ANCHORS)
    of = {d: np.flatnonzero(y == d) for d in np.unique(y)}
    positive = [rng.choice(of[y[a]]) for a in anchors]
    negative = [rng.choice(of[rng.choice([d for d in of if d != y[a]])]) for a in anchors]
    return np.concatenate([anchors, positive, negative])


def precision(v: Floats, y: Labels, neighbours: int = 5) -> float:
    """The share of the nearest neighbours, by cosine, with the same label."""
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    similarity = v @ v.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :neighbours]
    return float((y[nearest] == y[:, None]).mean())


def train(name: str, loss_of: Loss, x: Floats, y: Labels, unseen: Floats) -> Floats:
    program, startup = gl.Program(), gl.Program()
    program.random_seed = startup.random_seed = 5
    with gl.program_guard(program, startup):
        image = gl.data(name="image", shape=[None, 64], dtype="float32")
        label = gl.data(name="label", shape=[None], dtype="int64")
        v = gl.layers.fc(gl.layers.fc(image, size=64, act="relu"), size=DIMENSIONS)
        evaluation = program.clone(for_test=True)
        loss = loss_of(v, label)
        gl.optimizer.Adam(learning_rate=0.005).minimize(loss)
    exe = gl.Executor(gl.CPUPlace())
    with gl.scope_guard(gl.Scope()):
        exe.run(startup)
        rng = np.random.default_rng(5)
        values = []
        for _ in range(STEPS):
            rows = batch(y, rng)
            (value,) = exe.run(program, feed={"image": x[rows], "label": y[rows]}, fetch_list=[loss])
            values.append(value.item())
        (embedded,) = exe.run(evaluation, feed={"image": unseen}, fetch_list=[v])
    print(f"  {name:<22} loss {np.mean(values[:10]):.4f} at first, {np.mean(values[-10:]):.4f} at last")
    assert np.mean(values[-10:]) < np.mean(values[:10])
    result: Floats = embedded
    return result


def check_losses() -> None:
    """Each loss of three vectors of length 1, by hand: cosines 0.6 (same digit), 0.8 and 0.96 (others)."""
    v, y = np.array([[1.0, 0, 0, 0], [0.6, 0.8, 0, 0], [0.8, 0.6, 0, 0]]), np.array([0, 0, 1])
    np.testing.assert_allclose(gl.compile(triplets)(v, y), np.sqrt(0.8) - np.sqrt(0.4) + 0.5, rtol=1e-5)
    np.testing.assert_allclose(gl.compile(cosines)(v, y), (1 - 0.6) + (0.8 - 0.2), rtol=1e-6)
    want = (np.log1p(np.exp((0.8 - 0.6) / 0.2)) + np.log1p(np.exp((0.96 - 0.6) / 0.2))) / 2
    np.testing.assert_allclose(gl.compile(contrastive)(v, y), want, rtol=1e-6)


def main() -> None:
    check_losses()
    images, labels = load_digits(return_X_y=True)
    x, y = (images / 16).astype(np.float32), labels.astype(np.int64)
    test = np.arange(len(y)) % 5 == 0
    train_x, train_y, unseen_x, unseen_y = x[~test], y[~test], x[test], y[test]
    print(f"{len(train_y)} images to learn from, {len(unseen_y)} to test with")
    mean = train_x.mean(axis=0)
    axes = np.linalg.svd(train_x - mean, full_matrices=False)[2][:DIMENSIONS]
    shares = {"principal components": precision((unseen_x - mean) @ axes.T, unseen_y)}
    for name, loss in (("triplet margin", triplets), ("cosine embedding", cosines), ("contrastive", contrastive)):
        shares[name] = precision(train(name, loss, train_x, train_y, unseen_x), unseen_y)
    print(f"neighbours of the right digit, among images never trained on, in {DIMENSIONS} dimensions:")
    for name, share in shares.items():
        print(f"  {name:<22} {share:.1%}")
    assert min(list(shares.values())[1:]) > shares["principal components"] + 0.05


if __name__ == "__main__":
    main()
