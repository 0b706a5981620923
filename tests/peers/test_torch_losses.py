"""The losses against PyTorch: the same function, options and random input; value and gradient, eager and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS

Array = npt.NDArray[Any]
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
REDUCTIONS = ("none", "mean", "sum")


@dataclass(frozen=True)
class Case:
    """`name` is the function in both libraries; `make` gives its tensors by argument, those in `by` get gradients."""

    name: str
    make: Callable[[np.random.Generator], Mapping[str, Array]]
    by: tuple[str, ...] = ("input",)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.name} {', '.join(f'{k}={v}' for k, v in self.options.items())} {self.make.__name__}".strip()


def pairs(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(4, 5)) * 2, "target": rng.normal(size=(4, 5)) * 2}


def weighted_pairs(rng: np.random.Generator) -> dict[str, Array]:
    return {**pairs(rng), "weight": rng.uniform(0.2, 2, (4, 5))}


def scalars(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=()), "target": rng.normal(size=())}


def probabilities(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.uniform(0.01, 0.99, (3, 4)), "target": rng.uniform(0, 1, (3, 4))}


def weighted_probabilities(rng: np.random.Generator) -> dict[str, Array]:
    return {**probabilities(rng), "weight": rng.uniform(0.2, 2, (4,))}


def logits(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(3, 4)) * 5, "target": rng.uniform(0, 1, (3, 4))}


def weighted_logits(rng: np.random.Generator) -> dict[str, Array]:
    return {**logits(rng), "weight": rng.uniform(0.2, 2, (3, 1)), "pos_weight": rng.uniform(0.2, 3, (4,))}


def classes(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(6, 5)) * 3, "target": rng.integers(0, 5, 6)}


def weighted_classes(rng: np.random.Generator) -> dict[str, Array]:
    return {**classes(rng), "weight": rng.uniform(0.2, 2, 5)}


def byte_classes(rng: np.random.Generator) -> dict[str, Array]:
    found = classes(rng)
    return {**found, "target": found["target"].astype(np.uint8)}


def ignored_classes(rng: np.random.Generator) -> dict[str, Array]:
    found = weighted_classes(rng)
    found["target"][[1, 4]] = -100
    return found


def images(rng: np.random.Generator) -> dict[str, Array]:
    target = rng.integers(0, 3, (2, 4, 5))
    target[0, 1:3, 2] = -100
    return {"input": rng.normal(size=(2, 3, 4, 5)), "target": target, "weight": rng.uniform(0.2, 2, 3)}


def one_row(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=7), "target": np.array(3)}


def distributions(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(4, 6)), "target": rng.dirichlet(np.ones(6), 4)}


def weighted_distributions(rng: np.random.Generator) -> dict[str, Array]:
    return {**distributions(rng), "weight": rng.uniform(0.2, 2, 6)}


def image_distributions(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(2, 3, 4)), "target": rng.uniform(0, 1, (2, 3, 4))}


BOTH = ("input", "target")
CASES = [
    *(Case(name, make, BOTH) for name in ("mse_loss", "l1_loss") for make in (pairs, weighted_pairs, scalars)),
    *(Case("smooth_l1_loss", pairs, BOTH, {"beta": beta}) for beta in (1.0, 0.3, 0)),
    *(Case("huber_loss", make, BOTH, {"delta": 0.7}) for make in (pairs, weighted_pairs)),
    *(Case("nll_loss", make) for make in (classes, weighted_classes, ignored_classes, images, one_row, byte_classes)),
    Case("nll_loss", classes, options={"ignore_index": 2}),
    *(
        Case("cross_entropy", make, options={"label_smoothing": smoothing})
        for make in (classes, weighted_classes, ignored_classes, images, one_row, byte_classes)
        for smoothing in (0.0, 0.2)
    ),
    Case("cross_entropy", weighted_classes, options={"ignore_index": 3}),
    *(Case("cross_entropy", make, BOTH) for make in (distributions, weighted_distributions, image_distributions)),
    Case("cross_entropy", weighted_distributions, ("input", "target", "weight"), {"label_smoothing": 0.3}),
    *(Case("binary_cross_entropy", make, BOTH) for make in (probabilities, weighted_probabilities)),
    *(Case("binary_cross_entropy_with_logits", make, BOTH) for make in (logits, weighted_logits)),
]


def of_torch(case: Case, arrays: Mapping[str, Array], options: Mapping[str, Any]) -> tuple[Array, list[Array]]:
    tensors = {n: torch.tensor(a, requires_grad=n in case.by) for n, a in arrays.items()}
    loss = getattr(torch.nn.functional, case.name)(**tensors, **options)
    loss.sum().backward()
    return loss.detach().numpy(), [tensors[n].grad.numpy() for n in case.by]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_like_torch(case: Case, runner: str, reduction: str, dtype: str, rng: np.random.Generator) -> None:
    made = case.make(rng)
    arrays = {n: np.asarray(a, dtype if a.dtype.kind == "f" else a.dtype) for n, a in made.items()}
    options = {**case.options, "reduction": reduction}
    value, grads = RUNNERS[runner](lambda **i: getattr(F, case.name)(**i, **options), arrays, case.by)
    want, wanted = of_torch(case, arrays, options)
    assert value.shape == want.shape
    assert value.dtype == want.dtype
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(value, want, rtol=tolerance, atol=tolerance)
    for name, got, grad in zip(case.by, grads, wanted, strict=True):
        np.testing.assert_allclose(got, grad, rtol=tolerance, atol=tolerance, err_msg=f"by {name}")


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_all_rows_ignored_like_torch(name: str, reduction: str, runner: str) -> None:
    case = Case(name, classes)
    arrays = {"input": np.random.default_rng(1).normal(size=(3, 4)), "target": np.full(3, -100)}
    options = {"reduction": reduction}
    value, (grad,) = RUNNERS[runner](lambda **i: getattr(F, name)(**i, **options), arrays, ("input",))
    want, (wanted,) = of_torch(case, arrays, options)
    np.testing.assert_array_equal(value, want)
    np.testing.assert_array_equal(grad, wanted)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsigmoid", "softplus", "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_activations_like_torch(name: str, runner: str, dtype: str, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.normal(size=(3, 6)) * 8, [[0.0, 25.0, -25.0, 1e4, -1e4, 1.0]]]).astype(dtype)
    torch_name = f"torch.nn.functional.{name}"
    options = {"dim": 1} if "softmax" in name else {}
    value, (grad,) = RUNNERS[runner](lambda input: getattr(F, name)(input, **options), {"input": x}, ("input",))
    t = torch.tensor(x, requires_grad=True)
    want = getattr(torch.nn.functional if hasattr(torch.nn.functional, name) else torch, name)(t, **options)
    want.sum().backward()
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(value, want.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=torch_name)
    np.testing.assert_allclose(grad, t.grad.numpy(), rtol=tolerance, atol=tolerance, err_msg=torch_name)


def test_one_hot_like_torch() -> None:
    labels = np.array([[0, 2], [1, 3]])
    value, _ = RUNNERS["compiled"](lambda labels: F.one_hot(labels, 4), {"labels": labels}, ())
    want = torch.nn.functional.one_hot(torch.tensor(labels), 4).numpy()
    np.testing.assert_array_equal(value, want)
    assert value.dtype == want.dtype


@pytest.mark.parametrize("old", [{"size_average": False}, {"size_average": True}, {"reduce": False}, {"reduce": True}])
def test_legacy_arguments_like_torch(old: dict[str, bool], rng: np.random.Generator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = Case("mse_loss", pairs)
        arrays = pairs(rng)
        value, _ = RUNNERS["eager"](lambda **i: F.mse_loss(**i, **old, reduction="none"), arrays, ())
        want, _ = of_torch(case, arrays, {**old, "reduction": "none"})
    np.testing.assert_allclose(value, want, rtol=1e-12)
