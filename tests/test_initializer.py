"""First values of parameters: ranges, seeds, arrays; what ParamAttr takes."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.initializer import (
    MSRA,
    Constant,
    Initializer,
    Normal,
    NumpyArrayInitializer,
    TruncatedNormal,
    Uniform,
    Xavier,
    fans,
)

SHAPE = (40, 30)


def eager(initializer: Initializer, shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> np.ndarray:  # type: ignore[type-arg]
    with gl.dygraph.guard():
        value = initializer.value(shape, dtype)
        assert isinstance(value, gl.dygraph.VarBase)
        return value.numpy()


def in_program(initializer: Initializer, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    startup.random_seed = seed
    with gl.program_guard(main, startup):
        gl.layers.create_parameter(list(SHAPE), "float32", "w", default_initializer=initializer)
    gl.Executor().run(startup, scope=scope)
    return np.array(scope.find_var("w").get_tensor())


@pytest.mark.parametrize(
    ("initializer", "low", "high", "variance"),
    [
        (Uniform(-2, 3, seed=1), -2, 3, 25 / 12),
        (Normal(0, 0.5, seed=1), -np.inf, np.inf, 0.25),
        (TruncatedNormal(1, 0.5, seed=1), 0, 2, 0.25 * 0.7737),
        (Xavier(seed=1), -np.sqrt(6 / 70), np.sqrt(6 / 70), 2 / 70),
        (Xavier(uniform=False, seed=1), -np.inf, np.inf, 2 / 70),
        (Xavier(fan_in=10, fan_out=20, seed=1), -np.sqrt(6 / 30), np.sqrt(6 / 30), 2 / 30),
        (MSRA(seed=1), -np.sqrt(6 / 40), np.sqrt(6 / 40), 2 / 40),
        (MSRA(uniform=False, fan_in=8, seed=1), -np.inf, np.inf, 2 / 8),
    ],
)
def test_range_and_variance(initializer: Initializer, low: float, high: float, variance: float) -> None:
    for value in (eager(initializer), in_program(initializer)):
        assert value.shape == SHAPE
        assert np.all((value >= low) & (value <= high))
        np.testing.assert_allclose(value.var(), variance, rtol=0.15)
    np.testing.assert_array_equal(eager(initializer), in_program(initializer))


def test_seeds() -> None:
    np.testing.assert_array_equal(in_program(Xavier(), seed=5), in_program(Xavier(), seed=5))
    assert np.any(in_program(Xavier(), seed=5) != in_program(Xavier(), seed=6))
    assert np.any(in_program(Xavier()) != in_program(Xavier()))
    assert np.any(eager(Xavier()) != eager(Xavier()))


@pytest.mark.parametrize(("seed", "same"), [(0, False), (5, True)])
def test_a_startup_program_run_again(seed: int, same: bool) -> None:
    startup = gl.Program()
    startup.random_seed = seed
    with gl.program_guard(gl.Program(), startup):
        gl.layers.create_parameter(list(SHAPE), "float32", "w")
    exe, found = gl.Executor(), []
    for _ in range(2):
        scope = gl.Scope()
        exe.run(startup, scope=scope)
        found.append(np.array(scope.find_var("w").get_tensor()))
    assert np.array_equal(*found) is same


def test_two_parameters_of_one_program_differ() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    startup.random_seed = 3
    with gl.program_guard(main, startup):
        gl.layers.create_parameter([8], "float32", "a")
        gl.layers.create_parameter([8], "float32", "b")
    gl.Executor().run(startup, scope=scope)
    a, b = (np.array(scope.find_var(n).get_tensor()) for n in "ab")
    assert np.any(a != b)


def test_constant_and_array() -> None:
    np.testing.assert_array_equal(eager(Constant(2.5)), 2.5)
    array = np.arange(1200.0).reshape(SHAPE)
    for value in (eager(NumpyArrayInitializer(array)), in_program(NumpyArrayInitializer(array))):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, array)
    with pytest.raises(ShapeError, match="parameter"):
        eager(NumpyArrayInitializer(array), (3,))
    with pytest.raises(ArgumentTypeError, match="array"):
        NumpyArrayInitializer([1.0])  # type: ignore[arg-type]
    with pytest.raises(AttrError, match="low"):
        Uniform(1, 0)
    with pytest.raises(AttrError, match="scale"):
        Normal(0, -1)


@pytest.mark.parametrize(("shape", "want"), [((7,), (7, 7)), ((3, 4), (3, 4)), ((8, 3, 5, 5), (75, 200)), ((), (1, 1))])
def test_fans(shape: tuple[int, ...], want: tuple[int, int]) -> None:
    assert fans(shape) == want


def test_param_attr() -> None:
    of = gl.ParamAttr.of
    assert of(False) is None
    assert of(None).name is None  # type: ignore[union-attr]
    assert of(True).initializer is None  # type: ignore[union-attr]
    assert of("w").name == "w"  # type: ignore[union-attr]
    assert of(Constant(1.0)).initializer.number == 1.0  # type: ignore[union-attr]
    with pytest.raises(AttrError, match="empty"):
        gl.ParamAttr(name="")
    with pytest.raises(ArgumentTypeError, match="describe"):
        of(3)
    with pytest.raises(ArgumentTypeError, match="initializer"):
        gl.ParamAttr(initializer=1.0)  # type: ignore[arg-type]


def test_parameters_of_one_name_are_one() -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x = gl.data("x", [None, 3])
        gl.layers.fc(gl.layers.fc(x, 3, param_attr="w", bias_attr=False), 3, param_attr="w", bias_attr=False)
    assert [p.name for p in main.all_parameters()] == ["w"]
    assert [op.type for op in startup.global_block().ops] == ["uniform", "write"]
    assert main.all_parameters()[0].shape == (3, 3)
    with gl.program_guard(main, startup), pytest.raises(AttrError, match="other properties"):
        gl.layers.fc(x, 5, param_attr="w")
