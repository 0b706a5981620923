"""Losses of sequences under PyTorch's names: CTC."""

from __future__ import annotations

from graphloss import dtypes, ops
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, ctc
from graphloss.losses.labels import stopped
from graphloss.losses.reduction import check_reduction, reduced

__all__ = ["ctc_beam_search_decode", "ctc_loss"]


@checks.located
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: object,
    target_lengths: object,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """−ln Σ Π_t p_t of all paths that become the target once repeats are merged and blanks dropped.

    The gradient by log_probs is the exact one: minus the posterior of each class at each frame; behind log_softmax,
    softmax − posterior. A target that needs more frames than there are costs inf, with a gradient of NaN at its frames.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample.
        targets: integers (N, S), of which each row begins with its target; or all targets one after the other, (ΣS,).
            None of them is the blank. (S,) for one sample.
        input_lengths: frames of each sample, at most T: a tensor (N,), or a tuple of integers.
        target_lengths: the same for targets.
        blank: the class that stands for no symbol.
        reduction: "mean" divides each loss by the length of its target (1 if it is empty) and averages; "sum"; "none".
        zero_infinity: an infinite loss becomes 0, with a gradient of 0.

    Returns:
        0-d, or (N,) for "none" (0-d for one sample).

    Raises:
        LabelError (in the run): a length or a target out of range, with its sample and place.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, 2006;
        torch.nn.functional.ctc_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p = gl.dygraph.to_variable(np.log(np.full((3, 1, 2), 0.5)))
        ...     y = gl.dygraph.to_variable(np.array([[1]]))
        ...     float(np.exp(-gl.nn.functional.ctc_loss(p, y, (3,), (1,)).numpy()).round(6))  # 6 of 8 paths
        0.75
    """
    where = "ctc_loss"
    check_reduction(reduction)
    x, y = checks.tensor(log_probs, "log_probs", where), checks.tensor(targets, "targets", where)
    checks.require_float(x, where, "log_probs")
    if not dtypes.is_int(y.type.dtype):
        raise DtypeError(f"{where}: targets are classes", "int64 or int32", y.type.dtype)
    if not isinstance(zero_infinity, bool):
        raise AttrError(f"{where}: zero_infinity is True or False", got=repr(zero_infinity))
    if x.type.rank not in (2, 3):
        raise ShapeError(f"{where}: log_probs are neither (T, N, C) nor (T, C)", "rank 2 or 3", checks.shape_text(x))
    single = x.type.rank == 2
    if y.type.rank not in (1, 2):
        raise ShapeError(f"{where}: targets are neither (N, S) nor (sum of S,)", "rank 1 or 2", checks.shape_text(y))
    if single:
        x = ops.unsqueeze(x, (1,))
        y = ops.unsqueeze(y, (0,)) if y.type.rank == 1 else y
    if y.type.rank == 2 and not ctc.may_agree(y.type.shape[0], x.type.shape[1]):
        raise ShapeError(
            f"{where}: there is one row of targets per sample", f"[{x.type.shape[1]}, S]", checks.shape_text(y)
        )
    frames = ctc.lengths(input_lengths, x, 1, "input_lengths", where)
    sizes = ctc.lengths(target_lengths, x, 1, "target_lengths", where)
    blank = ctc.blank_class(blank, x, where)
    with checks.calling(labels="targets", label_lengths="target_lengths"):
        cost, _ = ops.ctc(x, y, frames, sizes, blank)
    if zero_infinity:
        cost = ctc.zero_where_impossible(cost)
    if reduction == "mean":
        cost = cost / ops.cast(ops.maximum(sizes, 1), cost.type.dtype)
    return ops.squeeze(cost, (0,)) if single and reduction == "none" else reduced(cost, reduction)


@checks.located
def ctc_beam_search_decode(
    log_probs: Tensor, input_lengths: object, blank: int = 0, beam_width: int = 10, top_paths: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """The most probable targets that a prefix beam search finds: repeats merged, blanks dropped, all paths summed.

    The probability of a target is that of all its paths that stay within the beam; with a beam as wide as there are
    targets it is exact.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample.
        input_lengths: frames of each sample, at most T: a tensor (N,), or a tuple of integers.
        blank: the class that stands for no symbol.
        beam_width: how many prefixes are kept after each frame.
        top_paths: how many targets are wanted, at most beam_width.

    Returns:
        (targets (N, top_paths, T) int64, best first, -1 behind the end of each; their lengths (N, top_paths); the
        logarithms of their probabilities (N, top_paths), -inf where there are no more targets); without N for (T, C).

    Raises:
        LabelError (in the run): a length out of range.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Graves and Jaitly, Towards end-to-end speech recognition with recurrent neural networks, 2014.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p = gl.dygraph.to_variable(np.log([[0.6, 0.4], [0.6, 0.4]]))  # the best path is no symbol
        ...     found = gl.nn.functional.ctc_beam_search_decode(p, 2, top_paths=2)
        ...     found[0].numpy().tolist(), np.exp(found[2].numpy()).round(6).tolist()
        ([[1, -1], [-1, -1]], [0.64, 0.36])
    """
    where = "ctc_beam_search_decode"
    x = checks.tensor(log_probs, "log_probs", where)
    checks.require_float(x, where, "log_probs")
    if x.type.rank not in (2, 3):
        raise ShapeError(f"{where}: log_probs are neither (T, N, C) nor (T, C)", "rank 2 or 3", checks.shape_text(x))
    for name, value in (("beam_width", beam_width), ("top_paths", top_paths)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise AttrError(f"{where}: {name} is an integer", got=repr(value))
    single = x.type.rank == 2
    x = ops.unsqueeze(x, (1,)) if single else x
    frames = ops.cast(ctc.lengths(input_lengths, x, 1, "input_lengths", where), "int64")
    with checks.calling(index="input_lengths"):
        frames = ops.check_index(frames, dims.add(x.type.shape[0], 1))
    found = ops.ctc_beam_search(x, frames, ctc.blank_class(blank, x, where), beam_width, top_paths)
    labels, sizes, log_p = (stopped(ops.squeeze(v, (0,)) if single else v) for v in found)
    return labels, sizes, log_p
