"""Losses over a large vocabulary as layers of eager mode: they keep their weights."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss import dtypes, ops
from graphloss.dygraph.layer import Layer
from graphloss.dygraph.varbase import ParamBase
from graphloss.errors import AttrError, ShapeError
from graphloss.initializer import drawn_seed
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, vocabulary_arguments
from graphloss.losses.hierarchical import complete_tree, given_tree, hierarchical
from graphloss.losses.nce import nce

__all__ = ["NCE", "HSigmoid"]


class _Scores(Layer):
    """A weight row and a bias for each of some classes or nodes."""

    def _make(self, rows: int, width: int, param_attr: object, bias_attr: object) -> None:
        weight = self.create_parameter([rows, width], param_attr)
        if weight is None:
            raise AttrError(f"{type(self).__name__}: the weights cannot be left out", got="param_attr=False")
        self.weight: ParamBase = weight
        self.bias = self.create_parameter([rows, 1], bias_attr, is_bias=True)

    def _features(self, input: Tensor) -> Tensor:
        where = type(self).__name__
        x, width = vocabulary_arguments.features(input, where)
        if width != self.weight.shape[1]:
            raise ShapeError(
                f"{where}: the input has another width", f"[N, {self.weight.shape[1]}]", checks.shape_text(x)
            )
        checks.require_same_dtype(self.weight, x, where, "the weights")
        return x


class NCE(_Scores):
    """Noise-contrastive estimation, w·(Σ_true −ln(o/(o+q)) + Σ_drawn −ln(q/(o+q))) / (k+1); see `layers.nce`.

    Args:
        num_total_classes: K.
        dim: D, the width of the input.
        sample_weight: [N, 1], where the call gives none.
        param_attr, bias_attr: of the weights [K, D] and the bias [K, 1]; bias_attr=False is no bias.
        num_neg_samples, sampler, custom_dist, seed, is_sparse, custom_neg_classes: as of `layers.nce`.
        dtype: of the parameters.

    Call: (input [N, D], label [N, T], sample_weight=None, step=None). Gives [N, 1].

    Raises:
        LabelError: a label outside [0, K). AttrError, ShapeError, DtypeError, ArgumentTypeError: other arguments.
        UnsupportedError: made outside of eager mode.

    Source:
        paddle.fluid.dygraph.NCE.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     loss = gl.dygraph.NCE(4, 2, param_attr=gl.initializer.Constant(0.0), num_neg_samples=3, seed=1)
        ...     x, y = (gl.dygraph.to_variable(a) for a in (np.ones((1, 2), "float32"), np.array([[2]])))
        ...     print(loss(x, y).numpy().round(4))
        [[0.6122]]
    """

    def __init__(
        self,
        num_total_classes: int,
        dim: int,
        sample_weight: Tensor | None = None,
        param_attr: object = None,
        bias_attr: object = None,
        num_neg_samples: int | None = None,
        sampler: str = "uniform",
        custom_dist: Sequence[float] | None = None,
        seed: int = 0,
        is_sparse: bool = False,
        dtype: object = "float32",
        *,
        custom_neg_classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._spec = vocabulary_arguments.noise_spec(
            num_total_classes, num_neg_samples, sampler, custom_dist, seed, custom_neg_classes,
            dtypes.canonical(dtype), "NCE",
        )  # fmt: skip
        self._tables = [ops.literal(table) for table in self._spec.tables]
        self._sample_weight = sample_weight
        self._make(self._spec.classes, vocabulary_arguments.count(dim, "dim", "NCE"), param_attr, bias_attr)

    def forward(
        self, input: Tensor, label: Tensor, sample_weight: Tensor | None = None, step: Tensor | None = None
    ) -> Tensor:
        """The loss of each row."""
        return checks.located(self._loss, "NCE")(input, label, sample_weight, step)

    def _loss(self, input: Tensor, label: Tensor, sample_weight: Tensor | None, step: Tensor | None) -> Tensor:
        x = self._features(input)
        y, _ = vocabulary_arguments.class_columns(label, x, "NCE")
        w = vocabulary_arguments.row_weight(self._sample_weight if sample_weight is None else sample_weight, x, "NCE")
        at = vocabulary_arguments.random_step(step, "NCE")
        noise = self._spec.noise(self._tables, drawn_seed(self._spec.seed), at)
        cost = nce(x, y, self.weight, self.bias, self._spec.negatives, noise, w)
        return ops.unsqueeze(cost / float(self._spec.negatives + 1), (1,))


class HSigmoid(_Scores):
    """Hierarchical softmax: the sum over a class's path of −ln σ(±z), z = x·W[node] + b[node]; see `layers.hsigmoid`.

    Args:
        feature_size: D, the width of the input.
        num_classes: K; with a custom tree the number of inner nodes.
        param_attr, bias_attr: of the weights, a row per inner node, and the bias; bias_attr=False is no bias.
        is_custom: whether each call gives the paths.
        is_sparse: without effect.
        dtype: of the parameters.

    Call: (input [N, D], label [N, 1], path_table=None, path_code=None). Gives [N, 1].

    Raises:
        LabelError: a label outside [0, K), a node that is not there. AttrError, ShapeError, DtypeError,
        ArgumentTypeError: other arguments. UnsupportedError: made outside of eager mode.

    Source:
        paddle.nn.HSigmoid (1.8).

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     loss = gl.dygraph.HSigmoid(3, 2, param_attr=gl.initializer.Constant(0.05))
        ...     x, y = (gl.dygraph.to_variable(a) for a in (np.full((1, 3), 0.9, "float32"), np.array([[1]])))
        ...     print(loss(x, y).numpy().round(4))
        [[0.6279]]
    """

    def __init__(
        self,
        feature_size: int,
        num_classes: int,
        param_attr: object = None,
        bias_attr: object = None,
        is_custom: bool = False,
        is_sparse: bool = False,
        dtype: object = "float32",
    ) -> None:
        super().__init__(dtype=dtype)
        self._is_custom = is_custom
        self._classes = vocabulary_arguments.count(num_classes, "num_classes", "HSigmoid", 1 if is_custom else 2)
        width = vocabulary_arguments.count(feature_size, "feature_size", "HSigmoid")
        self._make(self._classes - (not is_custom), width, param_attr, bias_attr)

    def forward(
        self, input: Tensor, label: Tensor, path_table: Tensor | None = None, path_code: Tensor | None = None
    ) -> Tensor:
        """The loss of each row."""
        return checks.located(self._loss, "HSigmoid")(input, label, path_table, path_code)

    def _loss(self, input: Tensor, label: Tensor, table: Tensor | None, code: Tensor | None) -> Tensor:
        where = "HSigmoid"
        x = self._features(input)
        vocabulary_arguments.require_one_tree(self._classes, table, code, self._is_custom, where)
        y = vocabulary_arguments.one_label(label, x, where)
        if self._is_custom:
            path = given_tree(*vocabulary_arguments.tree_paths(table, code, x, where))
        else:
            path = complete_tree(y, self._classes)
        return ops.unsqueeze(hierarchical(x, path, self.weight, self.bias), (1,))
