"""Each public loss and layer says where its definition comes from, and shows an example that runs."""

from __future__ import annotations

import re

import pytest

import graphloss as gl

LOSSES = [
    *((gl.layers, n) for n in gl.layers.__all__),
    *((gl.nn.functional, n) for n in gl.nn.functional.__all__),
    *((gl.gluon.loss, n) for n in gl.gluon.loss.__all__ if n != "Loss"),
    *((gl.dygraph, n) for n in gl.dygraph.__all__ if n.endswith("Loss")),
    *((gl.losses, n) for n in gl.losses.__all__),
]


@pytest.mark.parametrize(("module", "name"), LOSSES, ids=[f"{m.__name__}.{n}" for m, n in LOSSES])
def test_source_and_example(module: object, name: str) -> None:
    text = getattr(module, name).__doc__ or ""
    assert "Source:" in text
    assert ">>>" in text


@pytest.mark.parametrize("name", [n for n in gl.nn.__all__ if n.endswith("Loss")])
def test_classes_name_their_function(name: str) -> None:
    text = getattr(gl.nn, name).__doc__ or ""
    assert "nn.functional." in text
    assert ">>>" in text


PLAIN = "Linear Module functional"  # a layer, the base of all, and a module


@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m in (gl.nn, gl.nn.functional) for n in m.__all__ if n not in PLAIN.split()]
)
def test_what_pytorch_has_shows_an_example(module: object, name: str) -> None:
    assert ">>>" in (getattr(module, name).__doc__ or "")


def is_loss(module: object, name: str) -> bool:
    if module is gl.layers:
        return ".layers.loss" in getattr(gl.layers, name).__module__
    return "loss" in name.lower() or name in ("kl_div", "cross_entropy", "linear_chain_crf")


ALL_LOSSES = [(m, n) for m, n in LOSSES if is_loss(m, n)]


@pytest.mark.parametrize(("module", "name"), ALL_LOSSES, ids=[f"{m.__name__}.{n}" for m, n in ALL_LOSSES])
def test_arguments_and_errors(module: object, name: str) -> None:
    """Said here, or in the docstring of the loss it names: "as in `mse_loss`", "as `L2Loss`"."""
    text = getattr(module, name).__doc__ or ""
    for other in re.findall(r"\bas (?:in )?`(\w+)`", text):
        text += getattr(module, other).__doc__ or ""
    assert "Args:" in text
    assert "Raises" in text
    assert re.search(r"\[[^\]]*\]|\([A-Z, …d\d]+\)|\bshapes?\b", text), "the shapes"
