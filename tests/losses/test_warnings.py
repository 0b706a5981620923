"""A warning names the line of the user's code that it is about, however deep inside it is given."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import graphloss as gl
from graphloss.nn import functional as F

WARNING = {
    "function": lambda x, y: F.mse_loss(x, y, size_average=False),
    "class": lambda x, y: gl.nn.MSELoss(size_average=False)(x, y),
    "class with weights": lambda x, y: gl.nn.BCEWithLogitsLoss(reduce=False)(x, y),
    "class with a margin": lambda x, y: gl.nn.HingeEmbeddingLoss(size_average=True)(x, y),
    "shapes": lambda x, y: F.l1_loss(x, x[0]),
    "class and shapes": lambda x, y: gl.nn.MSELoss()(x, x[0]),
}


@pytest.mark.parametrize("name", WARNING)
def test_a_warning_is_of_the_users_line(name: str) -> None:
    loss = WARNING[name]
    with gl.dygraph.guard():
        x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5], [2.0]], [[1.0], [1.0]]))
        with pytest.warns(UserWarning, match="deprecated|broadcast") as caught:
            loss(x, y)
    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, inspect.getsourcelines(loss)[1])


def test_and_of_the_line_that_runs_an_empty_program() -> None:
    with pytest.warns(UserWarning, match="nothing to run") as caught:
        gl.Executor().run(gl.Program())
    assert caught[0].filename == __file__
