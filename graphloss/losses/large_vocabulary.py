"""Losses over a large vocabulary as functions of the weights of the last layer."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.errors import AttrError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, vocabulary_arguments
from graphloss.losses.hierarchical import complete_tree, hierarchical
from graphloss.losses.nce import log_uniform_noise, nce, uniform_noise
from graphloss.losses.reduction import reduced
from graphloss.losses.sampled import draw, sampled_softmax, scores_of

__all__ = ["hierarchical_softmax_loss", "nce_loss", "sampled_softmax_loss"]

SAMPLERS: Final = {"uniform": uniform_noise, "log_uniform": log_uniform_noise}


@checks.located
def nce_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    num_samples: int = 10,
    sampler: str = "log_uniform",
    seed: int = 0,
    step: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Σ_true −ln(o/(o+q)) + Σ_drawn −ln(q/(o+q)), o_c = σ(x·W_c + b_c), q_c = num_samples·P(c).

    Each row draws its own classes, with replacement. What a call costs grows with their number, not with K.

    Args:
        input: x, (N, D).
        target: y, the true classes, int64 or int32, (N,) or (N, T), T known.
        weight: W, (K, D), K and D known.
        bias: b, (K,).
        num_samples: how many classes each row draws.
        sampler: P: "uniform", 1/K, or "log_uniform", ln((c+2)/(c+1))/ln K, whose class K−1 is never drawn.
        seed: of the draws; 0 draws anew in each run.
        step: int64, one number; another step draws others with the same seed.
        reduction: "none", "mean" or "sum".

    Returns:
        (N,) or ().

    Raises:
        LabelError (in the run): a target outside [0, K). AttrError, ShapeError, DtypeError, ArgumentTypeError: at the
        call.

    Source: Gutmann and Hyvärinen, Noise-contrastive estimation, 2010; Mnih and Teh, A fast and simple algorithm for
        training neural probabilistic language models, 2012. As `layers.nce`, not divided by num_samples + 1.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, w = (gl.dygraph.to_variable(np.zeros(s)) for s in ((1, 2), (4, 2)))
        ...     y = gl.dygraph.to_variable(np.array([2]))
        ...     loss = nce_loss(x, y, w, num_samples=4, sampler="uniform")  # ln 3 + 4 ln 1.5
        ...     print(loss.numpy().round(4))
        2.7205
    """
    where = "nce_loss"
    x, classes = _scored(input, weight, bias, where)
    y, _ = vocabulary_arguments.class_columns(target, x, where)
    if sampler not in SAMPLERS:
        raise AttrError(f"{where}: unknown sampler", " | ".join(SAMPLERS), repr(sampler))
    spec = vocabulary_arguments.noise_spec(classes, num_samples, sampler, None, seed, None, x.type.dtype, where)
    noise = SAMPLERS[sampler](classes, spec.seed, vocabulary_arguments.random_step(step, where))
    return reduced(nce(x, y, weight, bias, spec.negatives, noise), reduction)


@checks.located
def hierarchical_softmax_loss(
    input: Tensor, target: Tensor, weight: Tensor, bias: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Σ over the path of −ln σ(z) where its bit is 1, −ln σ(−z) where it is 0; z = x·W[node] + b[node].

    The path of a class leads through the complete binary tree of K leaves. What a call costs grows with log₂ K.

    Args:
        input: x, (N, D).
        target: y, int64 or int32, (N,).
        weight: W, (K−1, D), a row per inner node.
        bias: b, (K−1,).
        reduction: "none", "mean" or "sum".

    Returns:
        (N,) or ().

    Raises:
        LabelError (in the run): a target outside [0, K). AttrError, ShapeError, DtypeError, ArgumentTypeError: at the
        call.

    Source: Morin and Bengio, Hierarchical probabilistic neural network language model, 2005; as `layers.hsigmoid`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, w = (gl.dygraph.to_variable(np.zeros(s)) for s in ((1, 2), (7, 2)))
        ...     y = gl.dygraph.to_variable(np.array([5]))
        ...     print(hierarchical_softmax_loss(x, y, w).numpy().round(4))  # 3 ln 2
        2.0794
    """
    where = "hierarchical_softmax_loss"
    x, nodes = _scored(input, weight, bias, where)
    y = vocabulary_arguments.one_label(target, x, where)
    return reduced(hierarchical(x, complete_tree(y, nodes + 1), weight, bias), reduction)


@checks.located
def sampled_softmax_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    num_samples: int = 100,
    remove_accidental_hits: bool = True,
    seed: int = 0,
    step: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−(1/T) Σ_t ln softmax(s)_t over the T targets of a row and drawn classes, s_c = x·W_c + b_c − ln Q(c).

    All rows share `num_samples` different classes, drawn from P(c) = ln((c+2)/(c+1))/ln(K+1); Q(c) is num_samples·P(c)
    if as many draws did, else 1 − (1−P(c))^draws. What a call costs grows with num_samples, not with K.

    Args:
        input: x, (N, D).
        target: y, int64 or int32, (N,) or (N, T), T known.
        weight: W, (K, D), K and D known.
        bias: b, (K,).
        num_samples: how many classes are drawn, at most K.
        remove_accidental_hits: a drawn class that is a target of the row counts for nothing there.
        seed, step: as of `nce_loss`.
        reduction: "none", "mean" or "sum".

    Returns:
        (N,) or ().

    Raises:
        LabelError (in the run): a target outside [0, K). AttrError, ShapeError, DtypeError, ArgumentTypeError: at the
        call.

    Source: Jean, Cho, Memisevic and Bengio, On using very large target vocabulary for neural machine translation, 2015;
        as `layers.sampled_softmax_with_cross_entropy` of all logits.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, w = (gl.dygraph.to_variable(np.zeros(s)) for s in ((1, 2), (1000, 2)))
        ...     y = gl.dygraph.to_variable(np.array([2]))
        ...     loss = sampled_softmax_loss(x, y, w, num_samples=20, seed=1)
        ...     print(loss.numpy().round(4))
        6.3819
    """
    where = "sampled_softmax_loss"
    x, classes = _scored(input, weight, bias, where)
    y, true = vocabulary_arguments.class_columns(target, x, where)
    wanted = vocabulary_arguments.count(num_samples, "num_samples", where)
    if wanted > classes:
        raise AttrError(f"{where}: more samples are asked for than there are classes", f"at most {classes}", wanted)
    drawn = draw(
        classes,
        wanted,
        vocabulary_arguments.count(seed, "seed", where, 0),
        vocabulary_arguments.random_step(step, where),
    )
    y = ops.check_index(y, classes)
    ids, log_q = drawn.beside(y, x.type.dtype)
    scores = scores_of(x, y, drawn.drawn, weight, bias)
    return reduced(sampled_softmax(scores, ids, log_q, true, remove_accidental_hits), reduction)


def _scored(input: object, weight: object, bias: object, where: str) -> tuple[Tensor, int]:
    """The input, after a check that weight and bias fit it; and how many rows the weight has."""
    x, width = vocabulary_arguments.features(input, where)
    w, b = checks.tensor(weight, "weight", where), checks.optional_tensor(bias, "bias", where)
    checks.require_same_dtype(x, w, where, "weight")
    rows = w.type.shape[0] if w.type.rank == 2 else None
    if not isinstance(rows, int) or rows < 1 or w.type.shape[1] != width:
        raise ShapeError(f"{where}: the weight has a known number of rows", f"(K, {width})", checks.shape_text(w))
    if b is not None:
        checks.require_same_dtype(x, b, where, "bias")
        if b.type.shape != (rows,):
            raise ShapeError(
                f"{where}: the bias holds a number per row of the weight", f"[{rows}]", checks.shape_text(b)
            )
    return x, rows
