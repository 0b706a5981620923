"""Gluon's losses of pairs of embeddings."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.gluon.loss.base import Loss
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks, embedding, similarity

__all__ = ["CosineEmbeddingLoss", "SDMLLoss"]


class CosineEmbeddingLoss(Loss):
    """1 − cos where label = 1, max(0, cos − margin) where label = −1, else 0; cos = x·y / max(‖x‖‖y‖, 1e-12).

    The gradient is 0 where cos = margin, and cos of a zero vector is 0.

    Args:
        margin: −1 to 1.
        weight, batch_axis: as in `L2Loss`.

    Call: (input1, input2, label, sample_weight=None), vectors along the last axis, one label for each. Gives (N, 1):
    nothing is averaged. sample_weight broadcasts to that.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.CosineEmbeddingLoss of MXNet 1.x.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b, y = (gl.dygraph.to_variable(np.array(v)) for v in ([[3.0, 4.0]], [[4.0, 3.0]], [1.0]))
        ...     CosineEmbeddingLoss()(a, b, y).numpy().round(7).tolist()
        [[0.04]]
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, margin: float = 0, **block: object) -> None:
        super().__init__(weight, batch_axis, **block)
        self._margin = float(margin)

    def forward(self, input1: Tensor, input2: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        b = self._pred(input2, "input2")
        a = self._like(b, self._pred(input1, "input1"), "input1")
        if b.type.rank == 0:
            raise ShapeError(f"{type(self).__name__}: a vector is needed", expected="(D,) or (N, D)", got="0-d")
        cos = similarity.cosine_of_bounded_product(a, b, b.type.rank - 1, 1e-12)
        cos = ops.reshape(cos, (cos.type.size, 1))
        y = self._like(cos, label)
        return self._weighted(embedding.cosine_embedding(cos, y, self._margin, at_zero=False), sample_weight)


class SDMLLoss(Loss):
    """Σ_j KL(t_i ‖ softmax_j(−‖x1_i − x2_j‖²)) per row i; t_i is 1 − s at j = i, and s/(N − 1) elsewhere.

    Args:
        smoothing_parameter: s.
        weight: a number, or None for 1.
        batch_axis: of x1 and x2, which have 0 there.

    Call: (x1, x2), both (N, D): row i of the one belongs to row i of the other. Gives (N,).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Bonadiman, Kumar and Mittal, Large scale question paraphrase retrieval with smoothed deep metric learning,
        2019; mxnet.gluon.loss.SDMLLoss, with the sum over the row of MXNet 1.x.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     pair = ([[0.5, 1.0], [-0.2, 0.3]], [[0.4, 0.9], [0.0, 0.5]])
        ...     a, b = (gl.dygraph.to_variable(np.array(v)) for v in pair)
        ...     SDMLLoss()(a, b).numpy().round(7).tolist()
        [0.0148106, 0.0046322]
    """

    def __init__(
        self,
        smoothing_parameter: float = 0.3,
        weight: float | None = 1.0,
        batch_axis: int = 0,
        **block: object,
    ) -> None:
        super().__init__(weight, batch_axis, **block)
        checks.require_unit_interval(smoothing_parameter, "smoothing_parameter", "SDMLLoss")
        self._smoothing = float(smoothing_parameter)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        where = type(self).__name__
        a = self._pred(x1, "x1")
        b = cast(self._pred(x2, "x2"), a.type.dtype)
        checks.require_same_shape(a, b, where, "x2")
        if a.type.rank != 2:
            raise ShapeError(f"{where}: the inputs are matrices", expected="(N, D)", got=checks.shape_text(a))
        loss = embedding.smoothed_pairs(a, b, self._smoothing)
        return self._weighted(loss, None) if self._weight != 1 else loss
