"""Quotients of sums that cannot overflow stay quotients: a Dice of a softmax keeps a finite gradient."""

from __future__ import annotations

import numpy as np

import graphloss as gl
from graphloss import ops


def test_overlap_of_a_softmax_at_huge_logits() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, t = gl.data("x", [1, 2, 2]), gl.data("t", [1, 2, 2])
        p = ops.softmax(x, 1)
        hit = ops.reduce_sum(p * t, 2)
        wrong = ops.reduce_sum(0.5 * (p * (1.0 - t)) + 0.5 * ((1.0 - p) * t), 2)
        loss = ops.reduce_sum(wrong / (hit + wrong))
        (gradient,) = gl.gradients([loss], [x])
    assert gradient is not None
    feed = {"x": np.array([[[1e4, -1e4], [-1e4, 1e4]]], "float32"), "t": np.array([[[0, 1], [1, 0]]], "float32")}
    value, slope = gl.Executor().run(main, feed, [loss, gradient])
    assert value == 2.0
    assert np.array_equal(slope, np.zeros((1, 2, 2), "float32")), "both masks are missed, whatever moves a little"
    assert "quotient-of-scaled" not in gl.explain(main, [loss]).rules
