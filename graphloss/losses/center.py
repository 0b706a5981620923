"""Center loss: half the squared distance of a sample from the center of its class, and how the centers move."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses.labels import held


def center(x: Tensor, label: Tensor, centers: Tensor) -> Tensor:
    """½‖x − c_y‖² per row; the centers get no gradient."""
    return 0.5 * ops.reduce_sum(ops.square(x - ops.gather(held(centers), label)), (1,))


def moved_centers(x: Tensor, label: Tensor, centers: Tensor, rate: Tensor | float) -> Tensor:
    """c_j + rate·Σ_{i: y_i = j} (x_i − c_j) / (1 + n_j), n_j how many rows are of class j."""
    offsets = ops.scatter_add(label, x - ops.gather(centers, label), centers.type.shape)
    ones = ops.fill(label.type.shape, 1.0, x.type.dtype)
    counts = ops.scatter_add(label, ones, (centers.type.shape[0],))
    return centers + rate * (offsets / ops.unsqueeze(1.0 + counts, (1,)))
