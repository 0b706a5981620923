"""A run that fails changes no state: no parameter, nothing of an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss.errors import FeedError, LabelError, ShapeError
from tests.runtime.models import OPTIMIZERS, Training, at

Array = npt.NDArray[Any]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_failed_step_changes_no_state(make: Callable[[], Any], rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(64, 3)).astype("float32"), rng.integers(0, 4, (64, 1))
    training, twin = Training(make), Training(make)
    assert training.state() == twin.state() and len(training.state()) >= 2
    training.step(x, y)
    twin.step(x, y)
    before = training.state()
    bad = y.copy()
    bad[-1] = 4
    refused = (((x, bad), LabelError), ((x[:, :2], y), ShapeError), ((x[:5], y), ShapeError), ((x, x), FeedError))
    for feed, error in refused:
        with pytest.raises(error):
            training.step(*feed)
        assert training.state() == before
    assert training.step(x, y) == twin.step(x, y)  # and the run after a failure knows nothing of it
    assert training.state() == twin.state() != before


def test_no_parameter_without_the_startup_program() -> None:
    training = Training(OPTIMIZERS["sgd"])
    name = next(p.name for p in training.main.all_parameters())
    training.scope = gl.Scope()
    with pytest.raises(FeedError) as caught:
        training.step(np.zeros((2, 3), "float32"), np.zeros((2, 1), "int64"))
    what, expected, op, where, hint = str(caught.value).splitlines()
    assert what.startswith("variable 'fc_") and what.endswith("has no value in the scope")
    assert expected == "  expected a value from an earlier run, got none"
    assert op.startswith("  op: state %fc_") and where == f"  at: {at('fc')}"
    assert hint == "  hint: run the startup program first, with the same scope"
    assert all(h.value is None for h in training.scope.holders.values())
    assert name in training.main.global_block().vars


@pytest.mark.parametrize("value", [np.zeros((3, 4)), np.zeros((3, 5), "float32"), np.zeros(3, "float32")])
def test_a_state_that_does_not_fit(value: Array) -> None:
    training = Training(OPTIMIZERS["sgd"])
    weight = next(p for p in training.main.all_parameters() if p.shape == (3, 4))
    training.scope.var(weight.name).get_tensor().set(value)
    with pytest.raises((FeedError, ShapeError)) as caught:
        training.step(np.zeros((2, 3), "float32"), np.zeros((2, 1), "int64"))
    what, _, op, where, _ = str(caught.value).splitlines()
    assert what.startswith(f"the value of {weight.name!r} has another ")
    assert op == f"  op: state %{weight.name} : f32[3, 4]" and where == f"  at: {at('fc')}"


def test_feeding_a_state() -> None:
    training = Training(OPTIMIZERS["sgd"])
    weight = next(p for p in training.main.all_parameters() if p.shape == (3, 4))
    feed = {"x": np.zeros((2, 3), "float32"), "y": np.zeros((2, 1), "int64"), weight.name: np.zeros((3, 4), "float32")}
    with pytest.raises(FeedError) as caught:
        training.exe.run(training.main, feed, [training.loss], scope=training.scope)
    assert str(caught.value) == (
        f"{weight.name!r} is no input of the program\n"
        "  expected a variable made by data(), got a state, which the scope holds\n"
        f"  op: {weight}\n"
        f"  at: {at('fc')}\n"
        "  hint: known names: 'x', 'y'"
    )
