"""Center loss: the worked example, and its centers over several runs."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss.losses.center import center, moved_centers
from tests.losses.golden import EXAMPLES

EXAMPLE = EXAMPLES["center"]
CENTERS = np.array(EXAMPLE["inputs"]["centers"])


def program(dtype: str = "float64", update: bool = True, alpha: object = 0.1) -> tuple[gl.Program, gl.Executor, list]:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x, y = gl.data("x", [None, 2], dtype), gl.data("y", [None, 1], "int64")
        x.stop_gradient = False
        first = gl.ParamAttr(name="centers", initializer=gl.initializer.NumpyArrayInitializer(CENTERS.astype(dtype)))
        rate = gl.layers.fill_constant([1], dtype, 0.1) if alpha == "variable" else alpha
        loss = gl.layers.center_loss(x, y, 3, rate, first, update)
        (grad,) = gl.gradients([loss], [x])
        mean = gl.layers.mean(loss)
    exe = gl.Executor(gl.CPUPlace())
    exe.run(startup)
    return main, exe, [loss, grad, mean]


def feed(dtype: str = "float64") -> dict[str, np.ndarray]:
    given = EXAMPLE["inputs"]
    return {"x": np.array(given["input"], dtype), "y": np.array(given["label"])}


def centers() -> np.ndarray:
    return np.array(gl.global_scope().find_var("centers").get_tensor())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("alpha", [0.1, "variable"])
def test_worked_example(dtype: str, alpha: object) -> None:
    tolerance = {"rtol": 1e-7, "atol": 1e-7} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-5}
    with gl.scope_guard(gl.Scope()):
        main, exe, (loss, grad, _) = program(dtype, alpha=alpha)
        value, by_x = exe.run(main, feed=feed(dtype), fetch_list=[loss, grad])
        want = EXAMPLE["results"]
        np.testing.assert_allclose(value, want["loss [N,1]"], **tolerance)
        np.testing.assert_allclose(by_x, want["d sum/dinput"], **tolerance)
        np.testing.assert_allclose(centers(), want["centers after (update_center=True)"], **tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_worked_example_eager(dtype: str) -> None:
    """The layer asks for a program, where its centers live; its formulas run on eager arrays, too."""
    tolerance = 1e-7 if dtype == "float64" else 1e-5
    with gl.dygraph.guard():
        x, y = (gl.dygraph.to_variable(v) for v in (feed(dtype)["x"], feed()["y"][:, 0]))
        now = gl.dygraph.to_variable(CENTERS.astype(dtype))
        x.stop_gradient = False
        loss, moved = center(x, y, now), moved_centers(x, y, now, EXAMPLE["inputs"]["alpha"])
        loss.backward()
        want = EXAMPLE["results"]
        for got, name in (
            (loss.numpy()[:, None], "loss [N,1]"), (x.gradient(), "d sum/dinput"),
            (moved.numpy(), "centers after (update_center=True)"),
        ):  # fmt: skip
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want[name], rtol=tolerance, atol=tolerance)


def test_centers_stay_without_update() -> None:
    with gl.scope_guard(gl.Scope()):
        main, exe, fetches = program(update=False)
        exe.run(main, feed=feed(), fetch_list=fetches)
        np.testing.assert_array_equal(centers(), CENTERS)


def test_each_run_uses_the_centers_of_the_run_before() -> None:
    x, y = feed()["x"], feed()["y"][:, 0]
    now = CENTERS.copy()
    with gl.scope_guard(gl.Scope()):
        main, exe, (loss, _, _) = program()
        for _ in range(3):
            (value,) = exe.run(main, feed=feed(), fetch_list=[loss])
            np.testing.assert_allclose(value[:, 0], 0.5 * ((x - now[y]) ** 2).sum(1), rtol=1e-12)
            offsets, counts = np.zeros_like(now), np.zeros(len(now))
            np.add.at(offsets, y, x - now[y])
            np.add.at(counts, y, 1)
            now = now + 0.1 * offsets / (1 + counts)[:, None]
            np.testing.assert_allclose(centers(), now, rtol=1e-12)


def test_failed_run_moves_no_center() -> None:
    with gl.scope_guard(gl.Scope()):
        main, exe, (loss, _, _) = program()
        bad = {**feed(), "y": np.array([[0], [3], [1]])}
        with pytest.raises(gl.errors.LabelError, match="row 1"):
            exe.run(main, feed=bad, fetch_list=[loss])
        np.testing.assert_array_equal(centers(), CENTERS)


def test_empty_batch_moves_no_center() -> None:
    with gl.scope_guard(gl.Scope()):
        main, exe, (loss, grad, _) = program()
        none = {"x": np.zeros((0, 2)), "y": np.zeros((0, 1), np.int64)}
        value, by_x = exe.run(main, feed=none, fetch_list=[loss, grad])
        assert value.shape == (0, 1)
        assert by_x.shape == (0, 2)
        np.testing.assert_array_equal(centers(), CENTERS)


def test_refusals() -> None:
    with gl.dygraph.guard():
        a, b = gl.dygraph.to_variable(np.zeros((2, 2))), gl.dygraph.to_variable(np.zeros((2, 1), np.int64))
        with pytest.raises(gl.errors.UnsupportedError):
            gl.layers.center_loss(a, b, 3, 0.1, None)
    with gl.program_guard(gl.Program(), gl.Program()):
        x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        with pytest.raises(gl.errors.AttrError, match="num_classes"):
            gl.layers.center_loss(x, y, 0, 0.1, None)
        with pytest.raises(gl.errors.ArgumentTypeError, match="alpha"):
            gl.layers.center_loss(x, y, 3, "0.1", None)  # type: ignore[arg-type]
        with pytest.raises(gl.errors.AttrError, match="param_attr"):
            gl.layers.center_loss(x, y, 3, 0.1, False)
