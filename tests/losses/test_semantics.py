"""The decisions of section 3 of the design, each by its number, eager and compiled; and the page that lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Runner
from tests.losses.semantics import QUESTIONS, Answer, page

ANSWERS = [(f"{q.number} {a.call}", a) for q in QUESTIONS for a in q.answers]
PAGE = Path(__file__).parent.parent.parent / "docs" / "dialects.md"


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("answer", [a for _, a in ANSWERS], ids=[n for n, _ in ANSWERS])
def test_decision(answer: Answer, run: Runner) -> None:
    by = tuple(answer.arrays)[:1] if answer.grad is not None else ()
    if answer.error is not None:
        with pytest.raises(answer.error):
            run(lambda *a, **i: answer.build(*i.values()), answer.arrays, by)
        return
    value, grads = run(lambda *a, **i: answer.build(*i.values()), answer.arrays, by)
    want = np.asarray(answer.value, np.float64)
    assert (value.shape, value.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-15)
    if by:
        np.testing.assert_allclose(grads[0], answer.grad, rtol=1e-10, atol=1e-15)


def test_decision_9_where_the_logits_are_known() -> None:
    """The bound is one of probabilities that are data: behind a sigmoid the compiled loss is exact."""
    arrays = {"x": np.array([1000.0, -1000.0]), "y": np.array([0.0, 1.0])}

    def loss(x: Any, y: Any) -> Any:
        return F.binary_cross_entropy(F.sigmoid(x), y, reduction="none")

    value, (grad,) = RUNNERS["compiled"](loss, arrays, ("x",))
    np.testing.assert_array_equal(value, [1000, 1000])
    np.testing.assert_array_equal(grad, [1, -1])
    np.testing.assert_array_equal(RUNNERS["eager"](loss, arrays, ())[0], [100, 100])
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [2], "float64"), gl.data("y", [2], "float64")
        fetch = loss(x, y)
    assert "100" in str(gl.compare(main, arrays, [fetch]))


def test_decision_9_log_loss_is_never_fused() -> None:
    """ε shifts every value, so the sigmoid before log_loss stays."""
    arrays = {"x": np.array([[-3.0], [2.0]]), "y": np.array([[1.0], [0.0]])}

    def loss(x: Any, y: Any) -> Any:
        return gl.layers.log_loss(F.sigmoid(x), y)

    p = 1 / (1 + np.exp(-arrays["x"]))
    want = -np.log(np.where(arrays["y"] == 1, p, 1 - p) + 1e-4)
    for run in RUNNERS.values():
        np.testing.assert_allclose(run(loss, arrays, ())[0], want, rtol=1e-12)


def test_page_shows_what_runs_give() -> None:
    assert PAGE.read_text() == page(), "print it anew: python -m tests.losses.semantics > docs/dialects.md"


def test_every_decision_has_a_test() -> None:
    assert [q.number for q in QUESTIONS] == list(range(1, 19))
