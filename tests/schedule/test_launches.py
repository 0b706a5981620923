"""Which steps belong to a kernel: sums of partial results behind it, counts ahead of it; and what stays a kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.inspect.explain import Explanation
from graphloss.nn import functional as F
from graphloss.schedule.launches import Part, parts


def explained(build: Callable[..., gl.Tensor], **shapes: tuple[object, ...]) -> Explanation:
    main = gl.Program()
    with gl.program_guard(main):
        given = {n: gl.data(n, [None, *s[:-1]], str(s[-1])) for n, s in shapes.items()}
        loss = build(**given)
        grads = gl.gradients([loss], [given["x"]])
    return gl.explain(main, [loss, *grads])


@pytest.mark.parametrize("classes", [2, 10, 20, 100, 5000], ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_a_mean_over_labels_is_one_kernel_that_counts_first(classes: int, weighted: bool) -> None:
    def loss(x: gl.Tensor, y: gl.Tensor) -> gl.Tensor:
        weight = gl.layers.fill_constant([classes], "float32", 2.0) * 3.0 if weighted else None
        return F.cross_entropy(x, y, weight=weight)

    found = explained(loss, x=(classes, "float32"), y=("int64",))
    (walk,) = (k for k in found.kernels if any(b.name == "x" for b in k.buffers))
    small = parts(found.code.plan.steps)
    ahead = [name for name, part in small.items() if part == Part(walk.name, ahead=True)]
    assert len(ahead) == 2, "the count of each chunk of labels, and their sum"
    text = str(found)
    assert f"kernels: {len(found.kernels)}, of {len(found.code.plan.steps)} steps" in text
    assert all(f"  {name}, ahead of {walk.name}: " in text for name in ahead)
    assert f", finishes {walk.name}: " in text
    assert len(found.traffic) == len(found.kernels)


def test_pixels_count_first_too() -> None:
    found = explained(lambda x, y: F.cross_entropy(x, y), x=(4, 32, 32, "float32"), y=(32, 32, "int64"))
    assert len(found.kernels) == 1


def test_traffic_of_a_kernel_has_that_of_its_small_steps() -> None:
    found = explained(lambda x, y: F.mse_loss(x, y), x=(64, "float32"), y=(64, "float32"))
    (walk,), (bytes_,) = found.kernels, found.traffic
    assert walk.name == "k0" and len(found.code.plan.steps) > 1
    assert bytes_ == found.moved


def test_a_second_walk_over_the_tensor_is_a_kernel() -> None:
    def normalised(x: gl.Tensor, y: gl.Tensor) -> gl.Tensor:
        return ops.reduce_sum((x - ops.reduce_mean(x)) ** 2.0 * y)

    assert len(explained(normalised, x=(64, "float32"), y=(64, "float32")).kernels) > 1
    counted = explained(
        lambda x, y: gl.layers.reduce_sum(gl.layers.sigmoid_cross_entropy_with_logits(x, y, normalize=True)),
        x=(64, "float32"), y=(64, "float32"),
    )  # fmt: skip
    assert len(counted.kernels) == 2, "the labels are as many as the logits: counting them is a walk of its own"


def test_scalars_alone_are_a_kernel() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        a = gl.data("a", [1])
        b = gl.layers.exp(a) + 1.0
    assert len(gl.explain(main, [b]).kernels) == 1


def test_kernels_that_share_nothing_stay_apart() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        a, b = gl.data("a", [None, 8]), gl.data("b", [None, 9])
        total = gl.layers.mean(a) + gl.layers.mean(b)
    found = gl.explain(main, [total])
    assert len(found.kernels) == 2
    last = max(parts(found.code.plan.steps).items())[1]
    assert last == Part(found.kernels[-1].name, ahead=False), "the sum of both finishes the later one"
