"""Linear cross entropy against PyTorch's: its function, its chunked form, and the logits' path; in row chunks here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import graphloss as gl
from graphloss.nn import functional as F
from graphloss.options import CompileOptions

N, C, D = 40, 2300, 5
OPTIONS: list[dict[str, Any]] = [
    {}, {"reduction": "sum"}, {"ignore_index": 7}, {"label_smoothing": 0.1},
    {"reduction": "sum", "label_smoothing": 1.0},
    {"reduction": "none", "ignore_index": 3},
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_linear_cross_entropy(options: dict[str, Any], biased: bool, weighted: bool, rng: np.random.Generator) -> None:
    arrays = {"x": rng.normal(size=(N, D)), "w": rng.normal(size=(C, D)), "y": rng.integers(0, C, N)}
    arrays["y"][:4] = options.get("ignore_index", -100)
    extra = {"linear_bias": rng.normal(size=C)} if biased else {}
    rest = {"weight": rng.uniform(0.5, 2, C)} if weighted else {}
    leaves = {n: torch.tensor(a, requires_grad=n != "y") for n, a in {**arrays, **extra}.items()}
    given = {**{n: leaves[n] for n in extra}, **{n: torch.tensor(a) for n, a in rest.items()}}
    by = [n for n in leaves if n != "y"]
    want = torch.nn.functional.linear_cross_entropy(leaves["x"], leaves["w"], leaves["y"], **given, **options)
    slopes = torch.autograd.grad(want.sum(), [leaves[n] for n in by])

    main = gl.Program()
    with gl.program_guard(main):
        tensors = {n: gl.data(n, [None if n in "xy" else a.shape[0], *a.shape[1:]], str(a.dtype))
                   for n, a in {**arrays, **extra, **rest}.items()}  # fmt: skip
        loss = F.linear_cross_entropy(
            tensors["x"], tensors["w"], tensors["y"], **{n: tensors[n] for n in (*extra, *rest)}, **options
        )
        gradients = gl.gradients([loss], [tensors[n] for n in by])
    exe = gl.Executor(gl.CPUPlace(), options=CompileOptions(row_chunk=16))
    value, *found = exe.run(main, {**arrays, **extra, **rest}, [loss, *gradients])
    np.testing.assert_allclose(value, want.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, a, b in zip(by, found, slopes, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-9, atol=1e-12, err_msg=f"by {name}")


def test_against_the_chunked_form(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(N, D)).astype("float32"), rng.normal(size=(C, D)).astype("float32")
    y = rng.integers(0, C, N)
    a, b = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    chunked = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=16, chunking_method=None)
    want = torch.nn.functional.linear_cross_entropy(a, b, torch.tensor(y), options=chunked)
    want.backward()
    with gl.dygraph.guard():
        c, d = gl.dygraph.to_variable(x), gl.dygraph.to_variable(w)
        c.stop_gradient = d.stop_gradient = False
        loss = F.linear_cross_entropy(c, d, gl.dygraph.to_variable(y))
        loss.backward()
        assert a.grad is not None and b.grad is not None
        for got, peer in ((loss.numpy(), want.detach()), (c.gradient(), a.grad), (d.gradient(), b.grad)):
            np.testing.assert_allclose(got, peer.numpy(), rtol=2e-5, atol=1e-6)


def test_probabilities_and_more_dimensions(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(6, D)), rng.normal(size=(4, 3, D))
    q = rng.dirichlet(np.ones(4), (6, 3)).transpose(0, 2, 1).copy()
    a, b = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    want = torch.nn.functional.linear_cross_entropy(a, b, torch.tensor(q), label_smoothing=0.2)
    want.backward()
    with gl.dygraph.guard():
        c, d = gl.dygraph.to_variable(x), gl.dygraph.to_variable(w)
        c.stop_gradient = d.stop_gradient = False
        loss = F.linear_cross_entropy(c, d, gl.dygraph.to_variable(q), label_smoothing=0.2)
        loss.backward()
        assert a.grad is not None and b.grad is not None
        for got, peer in ((loss.numpy(), want.detach()), (c.gradient(), a.grad), (d.gradient(), b.grad)):
            np.testing.assert_allclose(got, peer.numpy(), rtol=1e-10, atol=1e-12)
