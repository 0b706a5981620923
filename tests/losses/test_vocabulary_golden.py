"""The worked examples of NCE, hierarchical and sampled softmax: value and gradients, eager and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphloss import dygraph, layers, ops
from graphloss.losses.nce import log_uniform_noise
from tests.losses.golden import EXAMPLES
from tests.losses.runners import RUNNERS
from tests.losses.vocabulary_runs import Run, eager, first, numbers, program

TOLERANCE = {"float64": 1e-7, "float32": 1e-5}
MODES = ("eager", "free batch")


def inputs(key: str, dtype: str) -> dict[str, Any]:
    return {n: numbers(v, dtype) if isinstance(v, list) else v for n, v in EXAMPLES[key]["inputs"].items()}


def check(got: np.ndarray, key: str, result: str, dtype: str, scale: float = 1.0) -> None:
    want = np.array(EXAMPLES[key]["results"][result])
    assert got.dtype == dtype
    np.testing.assert_allclose(
        np.reshape(got, want.shape) * scale, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=result
    )


def run_nce(mode: str, dtype: str, **options: Any) -> Run:
    e = inputs("nce_uniform", dtype)
    arrays = {"input": e["input"], "label": e["label"]}
    options = {"num_neg_samples": 3, "custom_neg_classes": [0, 3, 0], **options}
    w, b = first(e["weight"]), first(e["bias"])
    if mode == "eager":
        return eager(lambda: dygraph.NCE(4, 2, None, w, b, dtype=dtype, **options), arrays)
    return program(
        lambda input, label: layers.nce(input, label, 4, param_attr=w, bias_attr=b, **options), arrays,
        free=mode == "free batch",
    )  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mode", MODES)
def test_nce(mode: str, dtype: str) -> None:
    run = run_nce(mode, dtype)
    check(run.loss, "nce_uniform", "layer output = Cost/(num_neg_samples+1)", dtype)
    check(run.loss, "nce_uniform", "op Cost", dtype, 4)
    check(run.inputs["input"], "nce_uniform", "dCost/dinput", dtype, 4)
    check(run.parameters[0], "nce_uniform", "dCost/dweight", dtype, 4)
    check(run.parameters[1], "nce_uniform", "dCost/dbias", dtype, 4)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("key", "sampler"), [("nce_logu", "log_uniform"), ("nce_custom", "custom_dist")])
def test_nce_of_other_distributions(key: str, sampler: str, mode: str, dtype: str) -> None:
    run = run_nce(mode, dtype, sampler=sampler, custom_dist=EXAMPLES[key]["inputs"].get("custom_dist"))
    check(run.loss, key, "op Cost", dtype, 4)
    check(run.inputs["input"], key, "dCost/dinput", dtype, 4)


def test_alias_table() -> None:
    own, other = ops.alias_table(EXAMPLES["nce_alias"]["inputs"]["custom_dist"])
    check(own, "nce_alias", "alias_probs", "float64")
    assert other.tolist() == EXAMPLES["nce_alias"]["results"]["alias"]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", ["hsig4", "hsig3", "hsig_doc", "hsig_custom"])
def test_hsigmoid(key: str, mode: str, dtype: str) -> None:
    e = inputs(key, dtype)
    n, custom = e["num_classes"], key == "hsig_custom"
    w = np.full((1, 3), 0.05, dtype) if key == "hsig_doc" else e["W"]
    b = None if isinstance(e["bias"], str) else e["bias"]
    arrays = {k: e[k] for k in ("input", "label", "path_table", "path_code") if k in e}
    arrays.setdefault("label", np.zeros((len(e["input"]), 1), np.int64))
    if mode == "eager":
        run = eager(
            lambda: dygraph.HSigmoid(e["input"].shape[1], n, first(w), first(b), is_custom=custom, dtype=dtype), arrays
        )
    else:
        run = program(
            lambda **i: layers.hsigmoid(
                **i, num_classes=n, param_attr=first(w), bias_attr=first(b), is_custom=custom
            ), arrays, free=mode == "free batch",
        )  # fmt: skip
    known = EXAMPLES[key]["results"]
    check(run.loss, key, "out" if "out" in known else "out, exact path sum", dtype)
    for got, name in ((run.inputs["input"], "d sum/dinput"), (run.parameters[0], "d sum/dW")):
        if name in known:
            check(got, key, name, dtype)
    if "d sum/dbias" in known:
        check(run.parameters[1], key, "d sum/dbias", dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("hits", [True, False])
def test_sampled_softmax(hits: bool, runner: str, dtype: str) -> None:
    e = inputs("sampled_softmax", dtype)

    def build(logits: Any, label: Any, samples: Any, q: Any) -> Any:
        return layers.sampled_softmax_with_cross_entropy(
            logits, label, 3, remove_accidental_hits=hits, use_customized_samples=True, customized_samples=samples,
            customized_probabilities=q,
        )  # fmt: skip

    arrays = {"logits": e["logits"], "label": e["label"], "samples": e["samples"], "q": e["probabilities"]}
    value, (gradient,) = RUNNERS[runner](build, arrays, ["logits"])
    assert value.shape == (1, 1)
    check(value, "sampled_softmax", "loss" if hits else "loss, remove_accidental_hits=False", dtype)
    if hits:
        check(gradient, "sampled_softmax", "d loss/dlogits", dtype)


def test_log_uniform_probabilities() -> None:
    with dygraph.guard():
        log_p = log_uniform_noise(4, 0).log_p(dygraph.to_variable(np.arange(4)), "float64")
        check(np.exp(log_p.numpy()), "nce_logu", "P(0..3)", "float64")
