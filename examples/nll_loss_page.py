"""The NLLLoss page of Paddle Fluid: one loss object in declarative and in imperative mode, with all its settings.

Run it as `python examples/nll_loss_page.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import graphloss as fluid
import graphloss.dygraph as dg

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def nll(x: Floats, y: Labels, weight: Floats, reduction: str, ignore_index: int) -> Floats:
    """The page's formula in NumPy: l_n = -w[y_n]·x[n, y_n], and its mean over the sum of the weights."""
    w = np.where(y == ignore_index, 0, weight[y % len(weight)])
    each = -w * np.take_along_axis(x, (y % len(weight))[:, None], axis=1)[:, 0]
    if reduction == "none":
        return each
    return np.array([each.sum() / w.sum() if reduction == "mean" else each.sum()], np.float32)


def declarative(criterion: dg.NLLLoss, x: Floats, y: Labels, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """The loss and the gradient of its sum, from a compiled program."""
    prog, startup_prog = fluid.Program(), fluid.Program()
    with fluid.program_guard(prog, startup_prog):
        input = fluid.data(name="input", shape=[None, *x.shape[1:]], dtype="float32")
        label = fluid.data(name="label", shape=[None, *y.shape[1:]], dtype="int64")
        feed = {"input": x, "label": y}
        if weight is not None:
            criterion.weight = fluid.data(name="weight", shape=list(weight.shape), dtype="float32")
            feed["weight"] = weight
        res = criterion(input, label)
        (grad,) = fluid.gradients([res], [input])
        assert grad is not None
    exe = fluid.Executor(fluid.CPUPlace())
    loss, gradient = exe.run(prog, feed=feed, fetch_list=[res, grad])
    return loss, gradient


def imperative(criterion: dg.NLLLoss, x: Floats, y: Labels, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """The same, op by op on arrays."""
    with dg.guard(fluid.CPUPlace()):
        input, label = dg.to_variable(x), dg.to_variable(y)
        input.stop_gradient = False
        criterion.weight = None if weight is None else dg.to_variable(weight)
        output = criterion(input, label)
        output.backward()
        gradient = input.gradient()
        assert gradient is not None
        return output.numpy(), gradient


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((10, 10), dtype=np.float32)
    y = rng.integers(0, 10, 10)
    weight = np.linspace(0.5, 2, 10, dtype=np.float32)

    print("the page's program: the same object in both modes")
    nll_loss = dg.NLLLoss()
    static_result, static_gradient = declarative(nll_loss, x, y)
    output, gradient = imperative(nll_loss, x, y)
    print(f"  declarative {static_result[0]:.6f}")
    print(f"  imperative  {output[0]:.6f}")
    np.testing.assert_allclose(static_result, nll(x, y, np.ones_like(weight), "mean", -100), rtol=1e-6)
    np.testing.assert_allclose(output, static_result, rtol=1e-6)
    np.testing.assert_allclose(gradient, static_gradient, rtol=1e-6)

    print("each reduction, with weights; class 3 is ignored: its rows have loss and gradient 0")
    y[::4] = 3
    for reduction in ("none", "mean", "sum"):
        nll_loss = dg.NLLLoss(reduction=reduction, ignore_index=3)
        static_result, static_gradient = declarative(nll_loss, x, y, weight)
        output, gradient = imperative(nll_loss, x, y, weight)
        print(f"  {reduction:<5}", [round(float(v), 4) + 0.0 for v in static_result])
        np.testing.assert_allclose(static_result, nll(x, y, weight, reduction, 3), rtol=1e-5)
        np.testing.assert_allclose(output, static_result, rtol=1e-5)
        np.testing.assert_allclose(gradient, static_gradient, rtol=1e-5)
        assert not static_gradient[y == 3].any()

    print("images: input (N, C, d1, d2), labels (N, d1, d2)")
    images, labels = rng.random((2, 3, 4, 5), dtype=np.float32), rng.integers(0, 3, (2, 4, 5))
    static_result, _ = declarative(dg.NLLLoss(), images, labels)
    output, _ = imperative(dg.NLLLoss(), images, labels)
    print(f"  declarative {static_result[0]:.6f}, imperative {output[0]:.6f}")
    np.testing.assert_allclose(static_result, [-np.take_along_axis(images, labels[:, None], axis=1).mean()], rtol=1e-6)
    np.testing.assert_allclose(output, static_result, rtol=1e-6)

    print("a label that is no class is an error in both modes")
    y[7] = 10
    for run in (declarative, imperative):
        try:
            run(dg.NLLLoss(), x, y)
        except IndexError as error:
            print(f"  {run.__name__}: {str(error).splitlines()[0]}")
        else:
            raise AssertionError(f"{run.__name__} accepted label 10 of 10 classes")


if __name__ == "__main__":
    main()
