"""Every loss class of torch.nn: the same constructor, the same arguments, the same value and gradient."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import graphloss as gl
from tests.losses.runners import RUNNERS
from tests.peers import test_torch_losses as first
from tests.peers import test_torch_more_losses as more
from tests.peers.test_torch_losses import TOLERANCE

Array = npt.NDArray[Any]
Make = Callable[[np.random.Generator], dict[str, Array]]
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")

# Options of the constructors; arrays among them are drawn by name from the inputs.
CASES: list[tuple[str, dict[str, Any], Make]] = [
    ("L1Loss", {}, first.pairs),
    ("MSELoss", {}, first.pairs),
    ("SmoothL1Loss", {"beta": 0.5}, first.pairs),
    ("HuberLoss", {"delta": 0.5}, first.pairs),
    ("NLLLoss", {"weight": "weight", "ignore_index": 2}, first.weighted_classes),
    ("CrossEntropyLoss", {"weight": "weight", "ignore_index": 2, "label_smoothing": 0.2}, first.weighted_classes),
    ("CrossEntropyLoss", {}, first.image_distributions),
    ("CrossEntropyLoss", {"weight": "weight", "label_smoothing": 0.1}, first.images),
    ("BCELoss", {"weight": "weight"}, first.weighted_probabilities),
    ("BCEWithLogitsLoss", {"weight": "weight", "pos_weight": "pos_weight"}, first.weighted_logits),
    ("KLDivLoss", {"log_target": True}, more.two_log_probabilities),
    ("PoissonNLLLoss", {"log_input": False, "full": True, "eps": 0.1}, more.counts),
    ("GaussianNLLLoss", {"full": True, "eps": 0.3}, more.measured),
    ("MarginRankingLoss", {"margin": 0.5}, more.ordered_pairs),
    ("HingeEmbeddingLoss", {"margin": 0.5}, more.signed),
    ("SoftMarginLoss", {}, more.signed),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5, "weight": "weight"}, more.weighted_classes),
    ("MultiLabelMarginLoss", {}, more.listed),
    ("MultiLabelSoftMarginLoss", {"weight": "weight"}, more.weighted_multi_hot),
    ("CosineEmbeddingLoss", {"margin": 0.2}, more.embedded),
    ("TripletMarginLoss", {"p": 3, "swap": True, "margin": 0.7, "eps": 0.01}, more.triplets),
    ("TripletMarginWithDistanceLoss", {"margin": 0.5, "swap": True}, more.triplets),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("name", "options", "make"), CASES, ids=[f"{c[0]} {c[2].__name__}" for c in CASES])
def test_class_like_torch(
    name: str, options: dict[str, Any], make: Make, runner: str, reduction: str, dtype: str, rng: np.random.Generator
) -> None:
    arrays = {n: np.asarray(a, dtype if a.dtype.kind == "f" else a.dtype) for n, a in make(rng).items()}
    given = {v: arrays.pop(v) for v in options.values() if isinstance(v, str)}
    by = next(iter(arrays))

    def ours(**tensors: Any) -> Any:
        settings = {k: tensors.pop(v) if isinstance(v, str) else v for k, v in options.items()}
        return getattr(gl.nn, name)(**settings, reduction=reduction)(*tensors.values())

    value, (grad,) = RUNNERS[runner](ours, {**arrays, **given}, (by,))
    tensors = {n: torch.tensor(a, requires_grad=n == by) for n, a in arrays.items()}
    settings = {k: torch.tensor(given[v]) if isinstance(v, str) else v for k, v in options.items()}
    want = getattr(torch.nn, name)(**settings, reduction=reduction)(*tensors.values())
    want.sum().backward()
    near = TOLERANCE[dtype]
    assert (value.shape, value.dtype) == (tuple(want.shape), dtype)
    np.testing.assert_allclose(value, want.detach().numpy(), rtol=near, atol=near)
    np.testing.assert_allclose(grad, tensors[by].grad.numpy(), rtol=near, atol=near)


LOSSES = [n for n in dir(torch.nn) if n.endswith("Loss") or n == "NLLLoss2d"]


@pytest.mark.parametrize("name", LOSSES)
def test_constructor_like_torch(name: str) -> None:
    """The parameters of PyTorch's constructor, their order and their defaults; ours may go on, by keyword only."""
    want = inspect.signature(getattr(torch.nn, name).__init__).parameters
    got = inspect.signature(getattr(gl.nn, name)).parameters
    theirs = [(p.name, p.kind, p.default) for p in want.values() if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    ours = [(p.name, p.kind, p.default) for p in got.values() if p.name in want]
    if name != "NLLLoss2d":  # takes *args
        assert [p for p in ours if p[0] not in ("device", "dtype")] == [
            p for p in theirs if p[0] not in ("device", "dtype")
        ]
    extra = [p for p in got.values() if p.name not in want]
    assert name == "NLLLoss2d" or all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in extra), extra


LEGACY = [n for n in LOSSES if "size_average" in inspect.signature(getattr(torch.nn, n)).parameters]
OLD = [
    {"size_average": False}, {"size_average": True}, {"reduce": False}, {"reduce": True},
    {"size_average": False, "reduce": True}, {"size_average": True, "reduce": False},
]  # fmt: skip


@pytest.mark.parametrize("old", OLD, ids=str)
@pytest.mark.parametrize("name", LEGACY)
def test_legacy_arguments_like_torch(name: str, old: dict[str, bool], rng: np.random.Generator) -> None:
    _, options, make = next(c for c in CASES if c[0] == name)
    plain = {k: v for k, v in options.items() if not isinstance(v, str)}
    arrays = {n: a for n, a in make(rng).items() if n not in ("weight", "pos_weight")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = getattr(gl.nn, name)(**plain, **old), getattr(torch.nn, name)(**plain, **old)
        value, _ = RUNNERS["eager"](lambda **i: ours(*i.values()), arrays, ())
        want = theirs(*map(torch.tensor, arrays.values()))
    np.testing.assert_allclose(value, want.numpy(), rtol=1e-10, atol=1e-12)


def test_every_class_of_torch_is_here() -> None:
    elsewhere = {"AdaptiveLogSoftmaxWithLoss", "CTCLoss", "LinearCrossEntropyLoss", "NLLLoss2d"}
    assert set(LOSSES) == {c[0] for c in CASES} | elsewhere
