"""Losses of masks by their overlap: Tversky and focal Tversky, Jaccard, generalised Dice, Dice with cross entropy."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import arguments, checks
from graphloss.losses.cross_entropy import nll_of
from graphloss.losses.labels import labels
from graphloss.losses.reduction import check_reduction, reduced, reduced_rows

__all__ = ["dice_cross_entropy_loss", "focal_tversky_loss", "generalized_dice_loss", "jaccard_loss", "tversky_loss"]


def missed(p: Tensor, t: Tensor, alpha: float, beta: float, smooth: float, kept: int) -> Tensor:
    """(α·FP + β·FN)/(TP + α·FP + β·FN + s), which is 1 − Tversky without the difference.

    TP = Σ p·t, FP = Σ p·(1−t), FN = Σ (1−p)·t over all axes but the first `kept`. Where the denominator is 0 there is
    nothing to find, and the result is 0.
    """
    axes = tuple(range(kept, p.type.rank))

    def total(x: Tensor) -> Tensor:
        return ops.reduce_sum(x, axes) if axes else x

    hit = total(p * t)
    wrong = total(alpha * (p * (1.0 - t)) + beta * ((1.0 - p) * t))
    return over_or_zero(wrong, hit + wrong + smooth if smooth else hit + wrong)


def over_or_zero(x: Tensor, y: Tensor) -> Tensor:
    """x/y; 0, with gradient 0, where y is 0."""
    empty = y == 0.0
    # The divisor is selected too: a bare quotient of sums of a softmax would be given a common exponent, at a cost.
    return ops.where(empty, 0.0, x / ops.where(empty, 1.0, y))


def _masks(input: object, target: object, per_class: bool, where: str) -> tuple[Tensor, Tensor, int]:
    p, t = arguments.scores_and_mask(input, target, where)
    kept = 2 if per_class else 1
    if p.type.rank < kept:
        need = "(N, C, …)" if per_class else "(N, …)"
        raise ShapeError(f"{where}: input has too few axes", expected=need, got=checks.shape_text(p))
    return ops.check_range(p, 0, 1), t, kept


@checks.located
def tversky_loss(
    input: Tensor,
    target: Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    per_class: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """1 − (TP + s)/(TP + α·FP + β·FN + s) per sample, TP = Σ p·t, FP = Σ p·(1−t), FN = Σ (1−p)·t.

    α = β = ½ is the Dice loss (of smoothing 2s), α = β = 1 the Jaccard loss. Computed as
    (α·FP + β·FN)/(TP + α·FP + β·FN + s), which keeps its digits near 0.

    Args:
        input: probabilities p, (N, …); of logits, take their sigmoid or softmax first.
        target: t of that shape, 0 and 1, or between; integers and bools are taken as such.
        alpha, beta: weights of what is wrongly there and wrongly missing, 0 or more.
        smooth: s ≥ 0; with 0 an empty mask that is answered by nothing has loss and gradient 0.
        per_class: sum over the axes after (N, C), for an overlap per sample and class.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" (N,), per class (N, C). The mean of no sample is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Salehi, Erdogmus, Gholipour, "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional
    Deep Networks", 2017.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, t = (gl.dygraph.to_variable(np.array([a])) for a in ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0]))
        ...     float(gl.losses.tversky_loss(p, t, alpha=0.25, beta=0.75, smooth=0.0).numpy())
        0.2
    """
    where = "tversky_loss"
    p, t, kept = _masks(input, target, per_class, where)
    a, b = arguments.number(alpha, "alpha", where, 0.0), arguments.number(beta, "beta", where, 0.0)
    return reduced(missed(p, t, a, b, arguments.number(smooth, "smooth", where, 0.0), kept), reduction)


@checks.located
def focal_tversky_loss(
    input: Tensor,
    target: Tensor,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
    per_class: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """(1 − Tversky index)^(1/γ) per sample; the gradient where the loss is exactly 0 is 0.

    Arguments, result and errors as in `tversky_loss`, and gamma: γ > 0. Above 1 it gives weight to what
    is nearly right.

    Source: Abraham, Khan, "A Novel Focal Tversky Loss Function with Improved Attention U-Net for Lesion
    Segmentation", 2019.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, t = (gl.dygraph.to_variable(np.array([a])) for a in ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0]))
        ...     loss = gl.losses.focal_tversky_loss(p, t, alpha=1.0, beta=1.0, gamma=2.0, smooth=0.0)
        ...     round(float(loss.numpy()), 6)  # √½
        0.707107
    """
    where = "focal_tversky_loss"
    p, t, kept = _masks(input, target, per_class, where)
    a, b = arguments.number(alpha, "alpha", where, 0.0), arguments.number(beta, "beta", where, 0.0)
    power = 1.0 / arguments.number(gamma, "gamma", where, 0.0, low_open=True)
    loss = missed(p, t, a, b, arguments.number(smooth, "smooth", where, 0.0), kept)
    raised = ops.pow(loss, ops.fill((), power, loss.type.dtype))
    return reduced(ops.where(loss == 0.0, 0.0, raised), reduction)


@checks.located
def jaccard_loss(
    input: Tensor, target: Tensor, smooth: float = 1.0, per_class: bool = False, reduction: str = "mean"
) -> Tensor:
    """1 − (I + s)/(U + s) per sample, I = Σ p·t, U = Σ p + Σ t − I: the soft intersection over union.

    Arguments, result and errors as in `tversky_loss`.

    Source: Rahman, Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", 2016.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, t = (gl.dygraph.to_variable(np.array([a])) for a in ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0]))
        ...     float(gl.losses.jaccard_loss(p, t, smooth=0.0).numpy())
        0.5
    """
    p, t, kept = _masks(input, target, per_class, "jaccard_loss")
    s = arguments.number(smooth, "smooth", "jaccard_loss", 0.0)
    return reduced(missed(p, t, 1.0, 1.0, s, kept), reduction)


@checks.located
def generalized_dice_loss(input: Tensor, target: Tensor, smooth: float = 0.0, reduction: str = "mean") -> Tensor:
    """1 − (2·Σ_c w_c·Σ p·t + s)/(Σ_c w_c·Σ (p + t) + s) per sample, w_c = 1/(Σ t_c)².

    So small classes count as much as large ones. A class that is absent from a sample gets the largest weight of
    those that are there (1 if none is).

    Args:
        input: probabilities, (N, C, …); of logits, take their softmax over axis 1 first.
        target: of that shape, one-hot along axis 1, or between 0 and 1.
        smooth: s ≥ 0; with 0 a sample of which nothing is there, neither as answer nor as target, has loss 0.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" (N,). The mean of no sample is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice Overlap as a Deep Learning Loss Function for
    Highly Unbalanced Segmentations", 2017.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p = gl.dygraph.to_variable(np.array([[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]]))
        ...     t = gl.dygraph.to_variable(np.array([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]))
        ...     round(float(gl.losses.generalized_dice_loss(p, t).numpy()), 6)  # 1 − 2·(¼·1 + ½)/(¼·3.5 + 2.5)
        0.555556
    """
    where = "generalized_dice_loss"
    p, t, _ = _masks(input, target, True, where)
    s = arguments.number(smooth, "smooth", where, 0.0)
    axes = tuple(range(2, p.type.rank))

    def volume(x: Tensor) -> Tensor:
        return ops.reduce_sum(x, axes) if axes else x

    size = volume(t)
    absent = size == 0.0
    weight = ops.where(absent, 0.0, 1.0 / ops.square(size))
    largest = ops.reduce_max(weight, (1,), True)
    weight = ops.where(absent, ops.where(largest == 0.0, 1.0, largest), weight)
    apart = ops.reduce_sum(weight * volume(p * (1.0 - t) + (1.0 - p) * t), (1,))
    areas = ops.reduce_sum(weight * (volume(p) + size), (1,))
    return reduced(over_or_zero(apart, areas + s if s else areas), reduction)


@checks.located
def dice_cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    smooth: float = 1e-5,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """a·Dice + b·CE: the means of 1 − (2Σ p·t + s)/(Σ p + Σ t + s) per sample and class, and of −log p_y per pixel.

    p = softmax(logits) over axis 1, t the one-hot labels; sums are over the pixels of a sample. Pixels with the label
    ignore_index count in neither.

    Args:
        logits: (N, C, d1, …).
        target: class labels (N, d1, …).
        dice_weight, ce_weight: a and b, 0 or more.
        smooth: s ≥ 0; with 0 a class that is neither answered nor there has Dice loss 0.
        ignore_index: label of the pixels to leave out.
        reduction: "mean" or "sum" (of the Dice losses of all samples and classes, and of all pixels).

    Returns:
        0-d. The cross entropy of no pixel under "mean" is NaN, and so is the loss.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, AttrError: at the call.

    Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
    segmentation", 2021; Milletari, Navab, Ahmadi, "V-Net", 2016 (Dice).

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z = gl.dygraph.to_variable(np.zeros((1, 2, 2)))
        ...     y = gl.dygraph.to_variable(np.array([[0, 1]]))
        ...     round(float(gl.losses.dice_cross_entropy_loss(z, y, smooth=0.0).numpy()), 6)  # ½ + log 2
        1.193147
    """
    where = "dice_cross_entropy_loss"
    x, target, axis = arguments.class_scores(logits, target, where)
    if x.type.rank < 3:
        raise ShapeError(f"{where}: logits have too few axes", expected="(N, C, d1, …)", got=checks.shape_text(x))
    check_reduction(reduction, ("mean", "sum"))
    a = arguments.number(dice_weight, "dice_weight", where, 0.0)
    b = arguments.number(ce_weight, "ce_weight", where, 0.0)
    s = arguments.number(smooth, "smooth", where, 0.0)
    y = labels(target, ignore_index)
    assert y.keep is not None
    counts = ops.unsqueeze(y.keep, (axis,))
    classes = ops.iota(tuple(n if i == axis else 1 for i, n in enumerate(x.type.shape)), axis)
    here = ops.logical_and(counts, ops.equal(classes, ops.unsqueeze(y.index, (axis,))))
    p = ops.where(counts, ops.softmax(x, axis), 0.0)
    # a difference of sums, unlike `missed`: for the digits of 1 − p of a softmax another exponential would be taken
    axes = tuple(range(2, x.type.rank))
    shared = ops.reduce_sum(ops.where(here, p, 0.0), axes)
    areas = ops.reduce_sum(p, axes) + ops.reduce_sum(cast(here, x.type.dtype), axes)
    overlap = over_or_zero(areas - 2.0 * shared, areas + s if s else areas)
    hard = nll_of(ops.log_softmax(x, axis), y, axis, None)
    return a * reduced(overlap, reduction) + b * reduced_rows(hard, reduction, "nan")
