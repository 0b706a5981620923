"""PyTorch's adaptive softmax: a module that holds its weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks
from graphloss.losses.adaptive import Adaptive, Cluster
from graphloss.nn.linear import Linear
from graphloss.nn.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class ASMoutput(NamedTuple):
    """ln p(target) of each row, and the mean of its negative."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Mean −ln p(target), where the classes above the first cutoff share the cost of their rows in clusters.

    With short = cutoffs[0], the head W [short + clusters, F] scores the first `short` classes, and each cluster as
    one class; cluster i, of the classes cutoffs[i] … cutoffs[i+1]−1 (the last one ends at n_classes), scores its own
    through a narrower layer:

        ln p(c) = log_softmax(W x + b)[c]                                                    for c < short,
        ln p(c) = log_softmax(W x + b)[short+i] + log_softmax(V_i U_i x)[c − cutoffs[i]]     for c in cluster i,

    with `nn.functional.log_softmax`. Cluster i is evaluated for the rows of its classes only, so a step costs little
    more with ten times the classes.

    Args:
        in_features: F.
        n_classes: how many classes; frequent ones come first.
        cutoffs: increasing class numbers in [1, n_classes − 1].
        div_value: U_i is [⌊F / div_value^(i+1)⌋, F].
        head_bias: whether there is b.
        device: None or "cpu".
        dtype: of the parameters; None is float32.

    Attributes: head, a `Linear`; tail[i], the pair of `Linear` layers with the weights U_i and V_i. Under
    `dygraph.guard()` they hold eager parameters, else parameters of the default main program.

    Call: (input [N, F], target [N], int64, int32 or uint8), or [F] and []. Gives the named tuple (output, loss):
    ln p(target), [N] or [], and the mean of −output, [].

    Raises:
        LabelError (in the run): a target outside [0, n_classes). ShapeError, DtypeError, ArgumentTypeError: at the
        call. AttrError, ArgumentTypeError: cutoffs or sizes that do not do, when it is made.

    Source:
        Grave, Joulin, Cissé, Grangier and Jégou, Efficient softmax approximation for GPUs, 2017;
        torch.nn.AdaptiveLogSoftmaxWithLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     loss = AdaptiveLogSoftmaxWithLoss(4, 6, [2, 4], div_value=2.0)
        ...     x, y = (gl.dygraph.to_variable(a) for a in (np.zeros((2, 4), "float32"), np.array([0, 5])))
        ...     print(loss(x, y).output.numpy().round(4), loss.predict(x).numpy())  # ln ¼, ln ¼ + ln ½
        [-1.3863 -2.0794] [0 0]
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        where = type(self).__name__
        if isinstance(div_value, bool) or not isinstance(div_value, (int, float)) or not div_value > 0:
            raise AttrError(f"{where}: div_value must be a number above 0", got=repr(div_value))
        ends = (*_cutoffs(cutoffs, n_classes, where), n_classes)
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = list(ends)
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = ends[0]
        self.n_clusters = len(ends) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail: list[tuple[Linear, Linear]] = []
        for i in range(self.n_clusters):
            width = int(in_features // div_value ** (i + 1))
            project = Linear(in_features, width, False, device, dtype)
            self.tail.append((project, Linear(width, ends[i + 1] - ends[i], False, device, dtype)))

    def parameters(self) -> list[Tensor]:
        """Those of the head, then of each cluster."""
        return [p for layer in (self.head, *(part for pair in self.tail for part in pair)) for p in layer.parameters()]

    def _model(self) -> Adaptive:
        clusters = [
            Cluster(low, high, project.weight, out.weight)
            for (low, high), (project, out) in zip(pairwise(self.cutoffs), self.tail, strict=True)
        ]
        return Adaptive(self.head.weight, self.head.bias, clusters)

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:  # type: ignore[override]  # a named tuple of Tensors
        """ln p(target), and the mean of its negative."""
        return checks.located(self._loss, type(self).__name__)(input, target)

    def _loss(self, input: Tensor, target: Tensor) -> ASMoutput:
        where = type(self).__name__
        x, y = self._rows(input, where, (1, 2)), checks.tensor(target, "target", where)
        checks.require_class_dtype(y, where, checks.LABELS_OR_BYTES)
        single = x is not input
        if single and y.type.rank == 0:
            y = ops.unsqueeze(y, (0,))
        checks.require_labels_of(x, y, 1, where)
        output = self._model().log_p_of(x, y)
        loss = ops.reduce_mean(-output)
        return ASMoutput(ops.squeeze(output, 0) if single else output, loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """ln p of every class: (N, F) -> (N, n_classes)."""
        x = checks.located(self._rows, f"{type(self).__name__}.log_prob")(input, "log_prob", (2,))
        return self._model().log_p(x)

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class, int64: (N, F) -> (N,). All classes are scored only where the head prefers a cluster."""
        x = checks.located(self._rows, f"{type(self).__name__}.predict")(input, "predict", (2,))
        return self._model().best(x)

    def _rows(self, input: object, where: str, ranks: tuple[int, ...]) -> Tensor:
        x = checks.tensor(input, "input", where)
        checks.require_float(x, where)
        if x.type.rank not in ranks or not checks.may_be_equal(x.type.shape[-1], self.in_features):
            shapes = {1: f"({self.in_features},)", 2: f"(N, {self.in_features})"}
            raise ShapeError(
                f"{where}: the input does not fit", " or ".join(shapes[r] for r in ranks[::-1]), checks.shape_text(x)
            )
        if dtypes.computed(x.type.dtype) != dtypes.computed(self.head.weight.type.dtype):
            raise DtypeError(
                f"{where}: the input is not of the weights' dtype", self.head.weight.type.dtype, x.type.dtype
            )
        return ops.unsqueeze(x, (0,)) if x.type.rank == 1 else x

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, n_classes={self.n_classes}, cutoffs={self.cutoffs[:-1]}, "
            f"div_value={self.div_value}, head_bias={self.head_bias}"
        )


def _cutoffs(cutoffs: Sequence[int], n_classes: int, where: str) -> tuple[int, ...]:
    if isinstance(n_classes, bool) or not isinstance(n_classes, int):
        raise ArgumentTypeError(f"{where}: n_classes must be an integer", "int", type(n_classes).__name__)
    given = tuple(int(c) if isinstance(c, np.integer) else c for c in cutoffs)
    whole = all(isinstance(c, int) and not isinstance(c, bool) for c in given)
    inside = whole and all(1 <= c <= n_classes - 1 for c in given)
    if not given or not inside or any(a >= b for a, b in pairwise(given)):
        raise AttrError(f"{where}: cutoffs do not do", f"increasing integers from 1 to {n_classes - 1}", list(given))
    return given
