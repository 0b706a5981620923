"""Losses of boxes by their overlap: GIoU, DIoU, CIoU. Boxes are (x1, y1, x2, y2) with x1 ≤ x2 and y1 ≤ y2."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.overlap import over_or_zero
from graphloss.losses.reduction import reduced

__all__ = ["ciou_loss", "diou_loss", "giou_loss"]


@dataclass(frozen=True, slots=True)
class Boxes:
    """The coordinates of many boxes."""

    x1: Tensor
    y1: Tensor
    x2: Tensor
    y2: Tensor

    @property
    def width(self) -> Tensor:
        return self.x2 - self.x1

    @property
    def height(self) -> Tensor:
        return self.y2 - self.y1


def _boxes(input: object, target: object, where: str) -> tuple[Boxes, Boxes]:
    a, b = arguments.pair(input, target, where)
    if a.type.rank == 0 or a.type.shape[-1] != 4:
        raise ShapeError(f"{where}: a box has four coordinates", expected="(…, 4)", got=checks.shape_text(a))
    return _coordinates(a), _coordinates(b)


def _coordinates(boxes: Tensor) -> Boxes:
    # a sum over the row instead of a slice: so its gradient is a row too, and everything fits one kernel over rows
    axis = boxes.type.rank - 1
    place = ops.iota((4,), 0)

    def one(k: int) -> Tensor:
        return ops.reduce_sum(ops.where(place == k, boxes, 0.0), (axis,))

    return Boxes(one(0), one(1), one(2), one(3))


def _shared(a: Boxes, b: Boxes) -> tuple[Tensor, Tensor]:
    """The area of the intersection and of the union."""
    width = ops.relu(ops.minimum(a.x2, b.x2) - ops.maximum(a.x1, b.x1))
    height = ops.relu(ops.minimum(a.y2, b.y2) - ops.maximum(a.y1, b.y1))
    shared = width * height
    return shared, a.width * a.height + b.width * b.height - shared


def _hull(a: Boxes, b: Boxes) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around both."""
    return (
        ops.maximum(a.x2, b.x2) - ops.minimum(a.x1, b.x1),
        ops.maximum(a.y2, b.y2) - ops.minimum(a.y1, b.y1),
    )


def _center_distance(a: Boxes, b: Boxes) -> Tensor:
    """The squared distance of the centers over the squared diagonal of the hull; 0 where both are one point."""
    across = ops.square((b.x1 - a.x1) + (b.x2 - a.x2)) + ops.square((b.y1 - a.y1) + (b.y2 - a.y2))
    width, height = _hull(a, b)
    return over_or_zero(0.25 * across, ops.square(width) + ops.square(height))


@checks.located
def giou_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """1 − IoU + (H − U)/H per pair of boxes: U the area of the union, H that of the smallest box around both.

    The second term pulls boxes together that do not meet. From 0 to 2. The IoU of two boxes without area is 0, and so
    is the second term where the box around both has none.

    Args:
        input, target: (…, 4), of one float dtype: x1 ≤ x2, y1 ≤ y2.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the input's shape without its last axis. The mean of no pair is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Rezatofighi et al., "Generalized Intersection over Union", 2019.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b = (gl.dygraph.to_variable(np.array([v])) for v in ([0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]))
        ...     round(float(gl.losses.giou_loss(a, b).numpy()), 6)  # 1 − 0 + (3 − 2)/3
        1.333333
    """
    a, b = _boxes(input, target, "giou_loss")
    shared, union = _shared(a, b)
    width, height = _hull(a, b)
    hull = width * height
    return reduced(1.0 - over_or_zero(shared, union) + over_or_zero(hull - union, hull), reduction)


@checks.located
def diou_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """1 − IoU + ρ²/c² per pair of boxes: ρ the distance of the centers, c the diagonal of the smallest box around both.

    Arguments, result and errors as in `giou_loss`.

    Source: Zheng et al., "Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression", 2020.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b = (gl.dygraph.to_variable(np.array([v])) for v in ([0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]))
        ...     float(gl.losses.diou_loss(a, b).numpy())  # 1 − 0 + 2²/(3² + 1²)
        1.4
    """
    a, b = _boxes(input, target, "diou_loss")
    return reduced(1.0 - over_or_zero(*_shared(a, b)) + _center_distance(a, b), reduction)


@checks.located
def ciou_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """1 − IoU + ρ²/c² + α·v per pair of boxes, v = (4/π²)·(atan(w'/h') − atan(w/h))², α = v/(1 − IoU + v).

    ρ and c as in `diou_loss`; (w, h) and (w', h') are the sizes of input and target. α gets no gradient. The
    difference of the angles is one angle, of (w'·h − w·h', w·w' + h·h'); it is 0 where a box is a point.

    Arguments, result and errors as in `giou_loss`.

    Source: Zheng et al., "Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression", 2020.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b = (gl.dygraph.to_variable(np.array([v])) for v in ([0.0, 0.0, 2.0, 2.0], [0.0, 1.0, 2.0, 1.0]))
        ...     round(float(gl.losses.ciou_loss(a, b).numpy()), 6)  # v = ¼: 1 + 0 + ¼·¼/(1 + ¼)
        1.05
    """
    a, b = _boxes(input, target, "ciou_loss")
    iou = over_or_zero(*_shared(a, b))
    turn = _angle(b.width * a.height - a.width * b.height, a.width * b.width + a.height * b.height)
    v = (4.0 / math.pi**2) * ops.square(turn)
    weight = ops.detach(over_or_zero(v, 1.0 - iou + v))
    return reduced(1.0 - iou + _center_distance(a, b) + weight * v, reduction)


def _angle(y: Tensor, x: Tensor) -> Tensor:
    """atan(y/x) for x ≥ 0, ±π/2 at x = 0, 0 where both are 0: of the smaller over the larger, so nothing overflows."""
    steep = ops.abs(y) > x
    angle = ops.atan(over_or_zero(ops.where(steep, x, y), ops.where(steep, y, x)))
    return ops.where(steep, ops.sign(y) * (math.pi / 2) - angle, angle)
