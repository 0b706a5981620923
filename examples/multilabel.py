"""Multi-label classification: properties of a character, told from the words of its name.

Data: the Unicode 3.2 database in Python's `unicodedata`, the same in every release of Python; 10,000 characters with
names of several words, as LATIN SMALL LETTER A WITH DIAERESIS. A character may have none, one or several of the labels.

Run it as `python examples/multilabel.py`.
"""

from __future__ import annotations

import sys
from collections import Counter
from unicodedata import ucd_3_2_0 as unicode

import numpy as np
import numpy.typing as npt

import graphloss as gl

Floats = npt.NDArray[np.float32]

LABELS = ("letter", "capital", "number", "combining", "right to left", "mirrored", "decomposes")
WORDS, BATCH, EPOCHS = 400, 256, 12


def labels_of(character: str) -> tuple[bool, ...]:
    category = unicode.category(character)
    return (
        category[0] == "L",
        category == "Lu",
        unicode.numeric(character, None) is not None,
        unicode.combining(character) > 0,
        unicode.bidirectional(character) in ("R", "AL"),
        unicode.mirrored(character) == 1,
        unicode.decomposition(character) != "",
    )


def load(seed: int) -> tuple[Floats, Floats]:
    """Which of the most frequent words a name has, and which labels the character has."""
    names = {chr(c): unicode.name(chr(c), "").replace("-", " ").split() for c in range(sys.maxunicode + 1)}
    # ideographs are numbered, not named
    named = [c for c, words in names.items() if words and words[0] != "CJK" and words[:2] != ["HANGUL", "SYLLABLE"]]
    order = np.random.default_rng(seed).permutation(len(named))
    chosen = [named[i] for i in order[:10_000]]
    column = {w: i for i, (w, _) in enumerate(Counter(w for c in chosen for w in names[c]).most_common(WORDS))}
    x = np.zeros((len(chosen), WORDS), np.float32)
    for row, c in enumerate(chosen):
        x[row, [column[w] for w in names[c] if w in column]] = 1
    return x, np.array([labels_of(c) for c in chosen], np.float32)


def f1(scores: Floats, truth: Floats) -> npt.NDArray[np.float64]:
    """2·(found rightly) / (found + there), of each label."""
    found, there = scores > 0, truth > 0.5
    share: npt.NDArray[np.float64] = 2 * (found & there).sum(axis=0) / (found.sum(axis=0) + there.sum(axis=0))
    return share


def main() -> None:
    x, y = load(seed=1)
    train, test = slice(0, 8000), slice(8000, None)
    each_x, each_y = x.sum(axis=1).mean(), y.sum(axis=1).mean()
    print(f"{len(x)} characters, each with {each_x:.1f} of {WORDS} words and {each_y:.2f} labels")

    program, startup = gl.Program(), gl.Program()
    program.random_seed = startup.random_seed = 1
    with gl.program_guard(program, startup):
        words = gl.data(name="words", shape=[None, WORDS], dtype="float32")
        truth = gl.data(name="truth", shape=[None, len(LABELS)], dtype="float32")
        logits = gl.layers.fc(words, size=len(LABELS))
        # every label is a question of its own: yes or no
        loss = gl.layers.mean(gl.layers.sigmoid_cross_entropy_with_logits(logits, truth))
        evaluation = program.clone(for_test=True)
        gl.optimizer.Adam(learning_rate=0.02).minimize(loss)

    assert isinstance(logits, gl.Variable) and isinstance(loss, gl.Variable)

    exe = gl.Executor(gl.CPUPlace())
    exe.run(startup)
    rng = np.random.default_rng(2)
    for epoch in range(EPOCHS):
        order = rng.permutation(8000)
        total = 0.0
        for start in range(0, 8000, BATCH):
            rows = order[start : start + BATCH]
            (value,) = exe.run(program, feed={"words": x[train][rows], "truth": y[train][rows]}, fetch_list=[loss])
            total += value.item() * len(rows)
        if epoch in (0, 3, 7, 11):
            print(f"  epoch {epoch + 1:2}: binary cross entropy {total / 8000:.4f}")

    # the loss of the trained model, against its formula in NumPy
    scores, value = exe.run(evaluation, feed={"words": x[test], "truth": y[test]}, fetch_list=[logits.name, loss.name])
    z = scores.astype(np.float64)
    np.testing.assert_allclose(value, [np.logaddexp(0, np.where(y[test] > 0.5, -z, z)).mean()], rtol=1e-5)
    print(f"on {len(z)} characters never trained on: {value.item():.4f}")
    for name, share, score in zip(LABELS, y[test].mean(axis=0), f1(scores, y[test]), strict=True):
        print(f"  {name:<14} {share:6.1%} have it, F1 {score:.3f}")
    assert f1(scores, y[test]).mean() > 0.88
    assert value.item() < 0.06


if __name__ == "__main__":
    main()
