"""What the losses of distributions, margins, embeddings and regions refuse when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, GraphlossError, ShapeError
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F

Call = Callable[..., Any]
X, Y = np.zeros((2, 3), np.float32), np.array([0, 1])
INTS, DOUBLES, ROW = X.astype(np.int64), X.astype(np.float64), np.zeros(3, np.float32)
COLUMN, CUBE = X[:, :1], np.zeros((2, 3, 4), np.float32)

# what, the call, arrays, the error, words of its text
REFUSED: list[tuple[str, Call, tuple[Any, ...], type[GraphlossError], str]] = [
    ("kl_div reduction", lambda x: F.kl_div(x, x, reduction="batch"), (X,), AttrError, "batchmean"),
    ("kl_div of integers", lambda x: F.kl_div(x, x), (INTS,), DtypeError, "int64"),
    ("batchmean elsewhere", lambda x: F.poisson_nll_loss(x, x, reduction="batchmean"), (X,), AttrError, "batchmean"),
    ("array as target", lambda x: F.poisson_nll_loss(x, X), (X,), ArgumentTypeError, "target"),
    ("variance's shape", lambda x, v: F.gaussian_nll_loss(x, x, v), (X, ROW), ShapeError, "var"),
    ("two dimensions of 1", lambda x, v: F.gaussian_nll_loss(x, x, v), (X, X[:1, :1]), ShapeError, "var"),
    ("negative variance", lambda x: F.gaussian_nll_loss(x, x, -0.5), (X,), AttrError, "-0.5"),
    ("variance of text", lambda x: F.gaussian_nll_loss(x, x, "1"), (X,), ArgumentTypeError, "str"),
    ("ranks", lambda x, y: F.margin_ranking_loss(x, x, y), (X, ROW), ShapeError, "[2, 2, 1]"),
    ("p of multi margin", lambda x, y: F.multi_margin_loss(x, y, p=3), (X, Y), AttrError, "3"),
    ("cube of multi margin", lambda x, y: F.multi_margin_loss(x, y), (CUBE, Y), ShapeError, "(N, C)"),
    ("labels of multi margin", lambda x, y: F.multi_margin_loss(x, y), (X, np.zeros(5, int)), ShapeError, "[5]"),
    ("int16 labels", lambda x, y: F.multi_margin_loss(x, y), (X, Y.astype("int16")), DtypeError, "int16"),
    ("weight of multi margin", lambda x, y, w: F.multi_margin_loss(x, y, weight=w), (X, Y, X), ShapeError, "weight"),
    ("list of labels", lambda x, y: F.multilabel_margin_loss(x, y), (X, INTS[:, :2]), ShapeError, "[2, 2]"),
    ("float list", lambda x, y: F.multilabel_margin_loss(x, y), (X, X), DtypeError, "float32"),
    ("soft margin target", lambda x, y: F.multilabel_soft_margin_loss(x, y), (X, COLUMN), ShapeError, "[2, 1]"),
    ("margin 0", lambda x: F.triplet_margin_loss(x, x, x, margin=0), (X,), AttrError, "margin"),
    ("triplet ranks", lambda x, y: F.triplet_margin_loss(x, x, y), (X, ROW), ShapeError, "rank"),
    ("distance that is no function", lambda x: F.triplet_margin_with_distance_loss(x, x, x, distance_function=2), (X,),
     ArgumentTypeError, "int"),
    ("cosine target", lambda x, y: F.cosine_embedding_loss(x, x, y), (X, ROW), ShapeError, "[3]"),
    ("cosine shapes", lambda x, y, z: F.cosine_embedding_loss(x, y, z), (X, COLUMN, ROW[:2]), ShapeError, "input2"),
    ("cosine axis", lambda x: F.cosine_similarity(x, x, dim=2), (X,), AttrError, "axis"),
    ("normalize out", lambda x: F.normalize(x, out=x), (X,), AttrError, "out"),
    ("0-d vectors", lambda x: F.pairwise_distance(x, x), (np.float32(1),), ShapeError, "0-d"),
    ("log_loss dtypes", lambda x, y: layers.log_loss(x, y), (COLUMN, DOUBLES[:, :1]), DtypeError, "float64"),
    ("rank_loss shapes", lambda x, y: layers.rank_loss(x, x, y), (COLUMN, ROW), ShapeError, "right"),
    ("bpr labels", lambda x, y: layers.bpr_loss(x, y), (X, X), DtypeError, "float32"),
    ("kldiv reduction", lambda x: layers.kldiv_loss(x, x, "avg"), (X,), AttrError, "'avg'"),
    ("kldiv broadcast", lambda x, y: layers.kldiv_loss(x, y), (X, X[:1]), ShapeError, "[1, 3]"),
    ("dice of rank 1", lambda x: layers.dice_loss(x, x), (ROW,), ShapeError, "class axis"),
    ("dice labels", lambda x, y: layers.dice_loss(x, y), (X, Y[:1, None]), ShapeError, "[1]"),
    ("focal gamma", lambda x, y: layers.sigmoid_focal_loss(x, y, y, gamma=-1), (X, Y), AttrError, "gamma"),
    ("focal labels", lambda x, y: layers.sigmoid_focal_loss(x, x, y), (X, Y), DtypeError, "float32"),
    ("cos_sim of vectors", lambda x: layers.cos_sim(x, x), (ROW,), ShapeError, "[N, D]"),
    ("npair labels", lambda x, y: layers.npair_loss(x, x, y), (X, np.zeros(5, int)), ShapeError, "[5]"),
    ("Gluon KL reduction", lambda x: gluon.KLDivLoss(reduction="none")(x, x), (X,), AttrError, "mean | sum"),
    ("Gluon label format", lambda x: gluon.LogisticLoss(label_format="odd")(x, x), (X,), AttrError, "'odd'"),
    ("Gluon triplet sizes", lambda x, y: gluon.TripletLoss()(x, y, x), (X, CUBE), ShapeError, "positive"),
    ("Gluon SDML shapes", lambda x, y: gluon.SDMLLoss()(x, y), (X, COLUMN), ShapeError, "x2"),
    ("Gluon smoothing", lambda x: gluon.SDMLLoss(1.5)(x, x), (X,), AttrError, "1.5"),
    ("Gluon cosine labels", lambda x: gluon.CosineEmbeddingLoss()(x, x, x), (X,), ShapeError, "elements"),
    ("Gluon hinge weight", lambda x: gluon.HingeLoss(weight="2")(x, x), (X,), ArgumentTypeError, "str"),
]  # fmt: skip

OF_CONSTRUCTORS = {"Gluon KL reduction", "Gluon label format", "Gluon smoothing", "Gluon hinge weight"}


@pytest.mark.parametrize("mode", ["eager", "program"])
@pytest.mark.parametrize(("what", "call", "arrays", "error", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(
    what: str, call: Call, arrays: tuple[Any, ...], error: type[GraphlossError], words: str, mode: str
) -> None:
    given = [np.asarray(a) for a in arrays]
    if mode == "eager":
        with gl.dygraph.guard(), pytest.raises(error) as caught:
            call(*(gl.dygraph.to_variable(a) for a in given))
    else:
        with gl.program_guard(gl.Program(), gl.Program()), pytest.raises(error) as caught:
            call(*(gl.data(f"x{i}", a.shape, a.dtype) for i, a in enumerate(given)))
    assert words in str(caught.value)
    if what not in OF_CONSTRUCTORS:
        assert "test_errors_more.py:" in str(caught.value), "it says where the call is"


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda a: gl.layers.softmax(a), "input"),
        (lambda a: gl.layers.reduce_sum(a), "input"),
        (lambda a: gl.layers.concat([a, a]), "input"),
        (lambda a: gl.nn.functional.softmax(a, dim=1), "input"),
        (lambda a: gl.layers.softmax(a.tolist()), "input"),
    ],
)
def test_an_array_where_a_variable_belongs(call: Callable[[object], object], argument: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        call(np.ones((2, 3), np.float32))
    lines = str(caught.value).splitlines()
    assert f": {argument} is not a Variable" in lines[0] and "expected a Variable of a program" in lines[1]
    assert "test_errors_more.py:" in str(caught.value)


def test_an_executor_of_no_place() -> None:
    with pytest.raises(ArgumentTypeError, match="an Executor runs on the CPU"):
        gl.Executor("gpu")


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_lists_of_classes_are_integers(dtype: str) -> None:
    with gl.dygraph.guard():
        x, y = (
            gl.dygraph.to_variable(np.array([[0.1, 0.2, 0.4, 0.8]])),
            gl.dygraph.to_variable(np.array([[3, 0, -1, 1]], dtype)),
        )
        np.testing.assert_allclose(F.multilabel_margin_loss(x, y).numpy(), 0.85, rtol=1e-12)
