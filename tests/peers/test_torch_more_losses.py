"""PyTorch's losses of distributions, margins and embeddings: the same function, options and random input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import graphloss as gl
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS
from tests.peers.test_torch_losses import TOLERANCE, Case, of_torch

Array = npt.NDArray[Any]
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


def log_probabilities(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": np.log(rng.dirichlet(np.ones(5), 4)), "target": rng.dirichlet(np.ones(5), 4)}


def sparse_distributions(rng: np.random.Generator) -> dict[str, Array]:
    found = log_probabilities(rng)
    found["target"][rng.uniform(size=(4, 5)) < 0.4] = 0
    return found


def two_log_probabilities(rng: np.random.Generator) -> dict[str, Array]:
    found = log_probabilities(rng)
    return {**found, "target": np.log(found["target"])}


def broadcast_distributions(rng: np.random.Generator) -> dict[str, Array]:
    found = log_probabilities(rng)
    return {**found, "target": found["target"][:1]}


def counts(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.uniform(0.1, 3, (4, 5)), "target": rng.poisson(2.0, (4, 5)) + 0.5}


def measured(rng: np.random.Generator) -> dict[str, Array]:
    return {
        "input": rng.normal(size=(4, 5)), "target": rng.normal(size=(4, 5)), "var": rng.uniform(0.0, 2, (4, 5)) ** 3,
    }  # fmt: skip


def one_variance_per_row(rng: np.random.Generator) -> dict[str, Array]:
    return {**measured(rng), "var": rng.uniform(0.1, 2, 4)}


def one_variance_per_column(rng: np.random.Generator) -> dict[str, Array]:
    return {**measured(rng), "var": rng.uniform(0.1, 2, (1, 5))}


def signs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.choice(np.array([-1.0, 1.0]), shape)


def ordered_pairs(rng: np.random.Generator) -> dict[str, Array]:
    return {"input1": rng.normal(size=7), "input2": rng.normal(size=7), "target": signs(rng, 7)}


def ordered_broadcast(rng: np.random.Generator) -> dict[str, Array]:
    return {"input1": rng.normal(size=(3, 4)), "input2": rng.normal(size=(3, 1)), "target": signs(rng, 1, 4)}


def signed(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(4, 5)) * 3, "target": signs(rng, 4, 5)}


def signed_and_odd(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(4, 5)), "target": rng.choice(np.array([-1.0, 0.0, 1.0, 2.0]), (4, 5))}


def classes(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(6, 5)), "target": rng.integers(0, 5, 6)}


def weighted_classes(rng: np.random.Generator) -> dict[str, Array]:
    return {**classes(rng), "weight": rng.uniform(0.2, 2, 5)}


def one_row(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=6), "target": np.array(2)}


def listed(rng: np.random.Generator) -> dict[str, Array]:
    target = np.array([[3, 0, -1, 1, 2], [-1, 2, 2, 2, 2], [4, 3, 2, 1, 0], [2, 2, 0, -1, -1]])
    return {"input": rng.normal(size=(4, 5)), "target": target}


def one_list(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=4), "target": np.array([1, 3, -1, 0])}


def multi_hot(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(4, 5)) * 3, "target": rng.integers(0, 2, (4, 5)).astype(float)}


def weighted_multi_hot(rng: np.random.Generator) -> dict[str, Array]:
    return {**multi_hot(rng), "weight": rng.uniform(0.2, 2, 5)}


def images_multi_hot(rng: np.random.Generator) -> dict[str, Array]:
    return {"input": rng.normal(size=(2, 3, 4)), "target": rng.uniform(size=(2, 3, 4))}


def embedded(rng: np.random.Generator) -> dict[str, Array]:
    # no zero vector: its gradient is x2/√ε, and PyTorch's ε is 1e-12 rounded to float32
    return {"input1": rng.normal(size=(6, 4)), "input2": rng.normal(size=(6, 4)), "target": signs(rng, 6)}


def one_embedded(rng: np.random.Generator) -> dict[str, Array]:
    return {"input1": rng.normal(size=4), "input2": rng.normal(size=4), "target": np.array(-1.0)}


def triplets(rng: np.random.Generator) -> dict[str, Array]:
    found = {n: rng.normal(size=(6, 4)) for n in ("anchor", "positive", "negative")}
    found["positive"][1] = found["anchor"][1]  # equal anchors
    return found


def one_triplet(rng: np.random.Generator) -> dict[str, Array]:
    return {n: rng.normal(size=4) for n in ("anchor", "positive", "negative")}


BOTH, THREE = ("input", "target"), ("anchor", "positive", "negative")
CASES = [
    Case("kl_div", log_probabilities, BOTH),
    Case("kl_div", sparse_distributions),
    Case("kl_div", broadcast_distributions, BOTH),
    Case("kl_div", two_log_probabilities, BOTH, {"log_target": True}),
    *(Case("poisson_nll_loss", counts, BOTH, {"log_input": log, "full": full}) for log in (True, False)
      for full in (True, False)),
    Case("poisson_nll_loss", counts, BOTH, {"log_input": False, "eps": 0.1}),
    *(Case("gaussian_nll_loss", make, ("input", "target", "var"), {"full": full}) for full in (True, False)
      for make in (measured, one_variance_per_row, one_variance_per_column)),
    Case("gaussian_nll_loss", measured, ("input", "target", "var"), {"eps": 0.5}),
    *(Case("margin_ranking_loss", make, ("input1", "input2", "target"), {"margin": m}) for m in (0, 0.7)
      for make in (ordered_pairs, ordered_broadcast)),
    *(Case("hinge_embedding_loss", make, options={"margin": m}) for make in (signed, signed_and_odd) for m in (1, 0.3)),
    *(Case("soft_margin_loss", make) for make in (signed, signed_and_odd)),
    *(Case("multi_margin_loss", make, options={"p": p, "margin": m}) for p in (1, 2) for m in (1.0, 0.3)
      for make in (classes, weighted_classes, one_row)),
    *(Case("multilabel_margin_loss", make) for make in (listed, one_list)),
    *(Case("multilabel_soft_margin_loss", make, BOTH) for make in (multi_hot, weighted_multi_hot, images_multi_hot)),
    *(Case("cosine_embedding_loss", make, ("input1", "input2"), {"margin": m}) for make in (embedded, one_embedded)
      for m in (0, 0.3)),
    *(Case("triplet_margin_loss", make, THREE, {"p": p, "swap": swap}) for make in (triplets, one_triplet)
      for p in (1, 2, 3, 1.5, math.inf) for swap in (False, True)),
    Case("triplet_margin_loss", triplets, THREE, {"eps": 0.0, "margin": 0.3}),
    *(Case("triplet_margin_with_distance_loss", triplets, THREE, {"swap": swap}) for swap in (False, True)),
]  # fmt: skip


def close(got: Array, want: Array, dtype: str, name: str) -> None:
    np.testing.assert_allclose(got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name)


def typed(arrays: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    return {n: np.asarray(a, dtype if a.dtype.kind == "f" else a.dtype) for n, a in arrays.items()}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_like_torch(case: Case, runner: str, reduction: str, dtype: str, rng: np.random.Generator) -> None:
    arrays = typed(case.make(rng), dtype)
    options = {**case.options, "reduction": reduction}
    value, grads = RUNNERS[runner](lambda **i: getattr(F, case.name)(**i, **options), arrays, case.by)
    want, wanted = of_torch(case, arrays, options)
    assert (value.shape, value.dtype) == (want.shape, want.dtype)
    close(value, want, dtype, "value")
    for name, got, grad in zip(case.by, grads, wanted, strict=True):
        close(got, grad, dtype, f"by {name}")


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("runner", RUNNERS)
def test_batchmean_like_torch(runner: str, log_target: bool, rng: np.random.Generator) -> None:
    case = Case("kl_div", two_log_probabilities if log_target else log_probabilities)
    arrays, options = case.make(rng), {"log_target": log_target, "reduction": "batchmean"}
    value, (grad,) = RUNNERS[runner](lambda **i: F.kl_div(**i, **options), arrays, ("input",))
    want, (wanted,) = of_torch(case, arrays, options)
    close(value, want, "float64", "value")
    close(grad, wanted, "float64", "by input")


def vectors(rng: np.random.Generator) -> dict[str, Array]:
    x = rng.normal(size=(5, 4))
    x[1] = 0
    return {"x1": x, "x2": rng.normal(size=(5, 4))}


def broadcast_vectors(rng: np.random.Generator) -> dict[str, Array]:
    return {"x1": rng.normal(size=(5, 4)), "x2": rng.normal(size=(1, 4))}


def tiny_vectors(rng: np.random.Generator) -> dict[str, Array]:
    found = vectors(rng)
    found["x1"][0] *= 1e-3
    return found


def alone(rng: np.random.Generator) -> dict[str, Array]:
    x = rng.normal(size=(5, 4))
    x[1] = 0
    return {"input": x}


SIMILARITIES = [
    *(Case("cosine_similarity", make, ("x1", "x2")) for make in (vectors, broadcast_vectors)),
    Case("cosine_similarity", tiny_vectors, ("x1", "x2"), {"eps": 0.1}),
    Case("cosine_similarity", vectors, ("x1", "x2"), {"dim": 0}),
    *(Case("pairwise_distance", make, ("x1", "x2"), {"p": p}) for p in (0.5, 1, 2, 3, math.inf)
      for make in (vectors, broadcast_vectors)),
    Case("pairwise_distance", vectors, ("x1", "x2"), {"keepdim": True}),
    *(Case("normalize", alone, options={"p": p, "dim": dim}) for p in (1, 2, 3, math.inf) for dim in (0, 1)),
    Case("normalize", alone, options={"eps": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", SIMILARITIES, ids=lambda c: c.id)
def test_similarity_like_torch(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    arrays = typed(case.make(rng), dtype)
    value, grads = RUNNERS[runner](lambda **i: getattr(F, case.name)(**i, **case.options), arrays, case.by)
    want, wanted = of_torch(case, arrays, case.options)
    assert (value.shape, value.dtype) == (want.shape, want.dtype)
    close(value, want, dtype, "value")
    for name, got, grad in zip(case.by, grads, wanted, strict=True):
        scale = max(1.0, float(np.abs(grad).max()))
        np.testing.assert_allclose(got / scale, grad / scale, TOLERANCE[dtype], TOLERANCE[dtype], err_msg=f"by {name}")


# slack exactly 0: who passes the gradient there (catalogue of PyTorch's own conventions)
KINKS: list[tuple[str, dict[str, Array], tuple[str, ...], dict[str, Any]]] = [
    ("margin_ranking_loss", {"input1": np.array([1.0]), "input2": np.array([0.5]), "target": np.array([1.0])},
     ("input1", "input2"), {"margin": 0.5}),
    ("hinge_embedding_loss", {"input": np.array([1.0, 1.0]), "target": np.array([-1.0, 1.0])}, ("input",), {}),
    ("multi_margin_loss", {"input": np.array([[1.0, 0.0]]), "target": np.array([0])}, ("input",), {}),
    ("multilabel_margin_loss", {"input": np.array([[1.0, 0.0]]), "target": np.array([[0, -1]])}, ("input",), {}),
    ("cosine_embedding_loss", {"input1": np.array([[1.0, 0.0]]), "input2": np.array([[0.0, 1.0]]),
     "target": np.array([-1.0])}, ("input1", "input2"), {}),
    ("triplet_margin_loss", {"anchor": np.array([[0.0, 0]]), "positive": np.array([[1.0, 0]]),
     "negative": np.array([[2.0, 0]])}, THREE, {"eps": 0.0, "margin": 1.0}),
    ("triplet_margin_loss", {"anchor": np.array([[0.0, 0]]), "positive": np.array([[2.0, 0]]),
     "negative": np.array([[1.0, 0]])}, THREE, {"eps": 0.0, "swap": True}),
    ("triplet_margin_loss", {"anchor": np.array([[1.0, 2]]), "positive": np.array([[1.0, 2]]),
     "negative": np.array([[1.0, 2]])}, THREE, {"eps": 0.0, "swap": True}),
]  # fmt: skip


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("name", "arrays", "by", "options"), KINKS, ids=[k[0] + str(i) for i, k in enumerate(KINKS)])
def test_kinks_like_torch(
    name: str, arrays: dict[str, Array], by: tuple[str, ...], options: dict[str, Any], runner: str
) -> None:
    value, grads = RUNNERS[runner](lambda **i: getattr(F, name)(**i, **options), arrays, by)
    want, wanted = of_torch(Case(name, lambda rng: arrays, by), arrays, options)
    np.testing.assert_array_equal(value, want)
    for got, grad in zip(grads, wanted, strict=True):
        np.testing.assert_array_equal(got, grad)


CLASSES: list[tuple[str, dict[str, Any], Callable[[np.random.Generator], dict[str, Array]]]] = [
    ("KLDivLoss", {"log_target": True}, two_log_probabilities),
    ("PoissonNLLLoss", {"log_input": False, "full": True}, counts),
    ("GaussianNLLLoss", {"full": True}, measured),
    ("MarginRankingLoss", {"margin": 0.5}, ordered_pairs),
    ("HingeEmbeddingLoss", {"margin": 0.5}, signed),
    ("SoftMarginLoss", {"reduction": "sum"}, signed),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5}, classes),
    ("MultiLabelMarginLoss", {}, listed),
    ("MultiLabelSoftMarginLoss", {}, multi_hot),
    ("CosineEmbeddingLoss", {"margin": 0.2}, embedded),
    ("TripletMarginLoss", {"p": 1, "swap": True}, triplets),
    ("TripletMarginWithDistanceLoss", {"margin": 0.5}, triplets),
    ("CosineSimilarity", {"dim": 0}, vectors),
    ("PairwiseDistance", {"p": 1, "keepdim": True}, vectors),
]


@pytest.mark.parametrize(("name", "options", "make"), CLASSES, ids=[c[0] for c in CLASSES])
def test_classes_like_torch(name: str, options: dict[str, Any], make: Any, rng: np.random.Generator) -> None:
    arrays = make(rng)
    ours, theirs = getattr(gl.nn, name)(**options), getattr(torch.nn, name)(**options)
    value, _ = RUNNERS["compiled"](lambda **i: ours(*i.values()), arrays, ())
    close(value, theirs(*map(torch.tensor, arrays.values())).numpy(), "float64", name)


def test_one_number_as_variance(rng: np.random.Generator) -> None:
    arrays = {n: rng.normal(size=(3, 4)) for n in BOTH}
    value, _ = RUNNERS["compiled"](lambda **i: F.gaussian_nll_loss(**i, var=0.5), arrays, ())
    close(value, torch.nn.functional.gaussian_nll_loss(*map(torch.tensor, arrays.values()), 0.5).numpy(), "float64", "")
