"""Gluon's losses of sequences."""

from __future__ import annotations

from graphloss import dtypes, ops
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.gluon.loss.base import Loss
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks, ctc

__all__ = ["CTCLoss"]

_PADDING = -1


class CTCLoss(Loss):
    """−ln Σ Π_t p_t of the paths that collapse to the label, p the softmax of the scores; the blank is the last class.

    A label that needs more frames than there are gives 0, with gradient 0.

    Args:
        layout: "NTC" or "TNC", of pred.
        label_layout: "NT" or "TN", of label.
        weight: a number, or None for 1.

    Call: (pred, label, pred_lengths=None, label_lengths=None, sample_weight=None). pred: scores. label: classes from 0
    to C − 2, as integers or floats; without label_lengths (N,) each ends at its first −1. pred_lengths (N,): frames of
    each sample, None for all. sample_weight broadcasts to the loss. Gives (N,).

    Raises:
        LabelError (in the run): a length or a label out of range, with its sample and place.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.CTCLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     pred = gl.dygraph.to_variable(np.zeros((1, 3, 2)))
        ...     label = gl.dygraph.to_variable(np.array([[0, -1]]))
        ...     np.exp(-CTCLoss()(pred, label).numpy()).round(6).tolist()  # 6 of 8 paths
        [0.75]
    """

    def __init__(
        self,
        layout: str = "NTC",
        label_layout: str = "NT",
        weight: float | None = None,
        **block: object,
    ) -> None:
        for name, value, allowed in (
            ("layout", layout, ("NTC", "TNC")), ("label_layout", label_layout, ("NT", "TN"))
        ):  # fmt: skip
            if value not in allowed:
                raise AttrError(f"CTCLoss: unknown {name}", " or ".join(allowed), repr(value))
        super().__init__(weight, label_layout.index("N"), **block)
        self._layout = layout
        self._label_layout = label_layout

    def forward(
        self,
        pred: Tensor,
        label: Tensor,
        pred_lengths: Tensor | None = None,
        label_lengths: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        where = type(self).__name__
        x, y = self._pred(pred), checks.tensor(label, "label", where)
        if x.type.rank != 3:
            raise ShapeError(f"{where}: pred has the layout {self._layout}", "rank 3", checks.shape_text(x))
        if y.type.rank != 2:
            raise ShapeError(f"{where}: label has the layout {self._label_layout}", "rank 2", checks.shape_text(y))
        if y.type.dtype == "bool":
            raise DtypeError(f"{where}: labels are classes", "integers or floats", y.type.dtype)
        x = ops.transpose(x, (1, 0, 2)) if self._layout == "NTC" else x
        y = ops.transpose(y, (1, 0)) if self._label_layout == "TN" else y
        frames, batch, _ = x.type.shape
        rows, width = y.type.shape
        if not ctc.may_agree(rows, batch):
            raise ShapeError(f"{where}: there is one label per sample", f"[{batch}, {width}]", f"[{rows}, {width}]")
        if isinstance(width, int) and isinstance(frames, int) and width > frames:
            raise ShapeError(f"{where}: label is wider than pred has frames", f"at most {frames}", width)
        y = y if dtypes.is_int(y.type.dtype) else cast(y, "int64")
        if label_lengths is None:
            sizes = ctc.leading(y, _PADDING)
        else:
            sizes = ctc.lengths(_whole(label_lengths, "label_lengths", where), x, 1, "label_lengths", where)
        if pred_lengths is None:
            steps = ops.broadcast_to(ops.size((frames,)), (batch,))
        else:
            steps = ctc.lengths(_whole(pred_lengths, "pred_lengths", where), x, 1, "pred_lengths", where)
        called = "label" if self._label_layout == "NT" else "transpose(label)"
        with checks.calling(labels=called, input_lengths="pred_lengths"):
            cost, _ = ops.ctc_with_logits(x, y, steps, sizes, -1)
        return self._weighted(ctc.zero_where_impossible(cost), sample_weight)


def _whole(value: object, name: str, where: str) -> Tensor:
    """Lengths as integers: Gluon also takes whole numbers in floats."""
    given = checks.tensor(value, name, where)
    return cast(given, "int64") if dtypes.is_float(given.type.dtype) else given
