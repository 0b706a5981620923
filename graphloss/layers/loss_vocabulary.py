"""Fluid's losses over a large vocabulary: noise-contrastive estimation, hierarchical and sampled softmax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graphloss import dtypes, ops
from graphloss.errors import AttrError, ShapeError
from graphloss.initializer import NumpyArrayInitializer, drawn_seed
from graphloss.ir.context import Layer
from graphloss.ir.context import layer as layer_context
from graphloss.ir.parameter import Parameter
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import make_parameter, require_program
from graphloss.losses import checks, vocabulary_arguments
from graphloss.losses.hierarchical import complete_tree, given_tree, hierarchical
from graphloss.losses.labels import held
from graphloss.losses.nce import nce as nce_cost
from graphloss.losses.sampled import draw, sampled_softmax
from graphloss.param_attr import ParamAttr

__all__ = ["hsigmoid", "nce", "sampled_softmax_with_cross_entropy"]


@checks.located
def nce(
    input: Tensor,
    label: Tensor,
    num_total_classes: int,
    sample_weight: Tensor | None = None,
    param_attr: object = None,
    bias_attr: object = None,
    num_neg_samples: int | None = None,
    name: str | None = None,
    sampler: str = "uniform",
    custom_dist: Sequence[float] | None = None,
    seed: int = 0,
    is_sparse: bool = False,
    *,
    custom_neg_classes: Sequence[int] | None = None,
    step: Tensor | None = None,
) -> Tensor:
    """w·(Σ_true −ln(o/(o+q)) + Σ_drawn −ln(q/(o+q))) / (k+1), o_c = σ(x·W_c + b_c), q_c = k·P(c).

    Each row draws k classes from P with replacement; its own labels may be among them. The weights, [K, D], and the
    bias, [K, 1], are parameters that this layer makes. What a step costs grows with N·(T + k), not with K.

    Args:
        input: x, [N, D], D known.
        label: the true classes of each row, int64 or int32, [N, T], T known.
        num_total_classes: K.
        sample_weight: w, [N, 1]; gets no gradient.
        param_attr: of the weights: None, ParamAttr, a name, an initialiser; by default Xavier-uniform.
        bias_attr: of the bias: the same, or False for none; by default zeros.
        num_neg_samples: k, 10 by default.
        name: of the layer.
        sampler: P: "uniform", 1/K; "log_uniform", ln((c+2)/(c+1))/ln K, whose class K−1 is never drawn; "custom_dist".
        custom_dist: P as K numbers.
        seed: of the draws; the same in each run. 0 takes the program's random_seed, and draws anew in each run if
            that is 0 too.
        is_sparse: without effect; gradients of rows are sums over the rows that occur, in any case.
        custom_neg_classes: these k classes are the negatives of every row, and nothing is drawn.
        step: int64, one number; another step draws others with the same seed.

    Returns:
        [N, 1].

    Raises:
        LabelError (in the run): a label outside [0, K). UnsupportedError: in eager mode, where `dygraph.NCE` keeps
        the parameters. AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Gutmann and Hyvärinen, Noise-contrastive estimation, 2010; paddle.fluid.layers.nce.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        ...     zeros = gl.initializer.Constant(0.0)
        ...     loss = gl.layers.nce(x, y, 4, param_attr=zeros, num_neg_samples=3, seed=1)
        >>> exe = gl.Executor(gl.CPUPlace())
        >>> _ = exe.run(startup)
        >>> feed = {"x": np.ones((1, 2), "float32"), "y": np.array([[2]])}
        >>> print(exe.run(main, feed=feed, fetch_list=[loss])[0].round(4))
        [[0.6122]]
    """
    where = "nce"
    x, width = vocabulary_arguments.features(input, where)
    require_program(x, where, "dygraph.NCE keeps the parameters in eager mode")
    y, _ = vocabulary_arguments.class_columns(label, x, where)
    w = vocabulary_arguments.row_weight(sample_weight, x, where)
    spec = vocabulary_arguments.noise_spec(
        num_total_classes, num_neg_samples, sampler, custom_dist, seed, custom_neg_classes, x.type.dtype, where
    )
    at = vocabulary_arguments.random_step(step, where)
    with layer_context(where, name) as made:
        weight = _weight(param_attr, [spec.classes, width], x.type.dtype, made, where)
        bias = make_parameter(bias_attr, [spec.classes, 1], x.type.dtype, made, is_bias=True)
        noise = spec.noise([_stored(table, made) for table in spec.tables], drawn_seed(spec.seed), at)
        cost = nce_cost(x, y, weight, bias, spec.negatives, noise, w)
        return ops.unsqueeze(cost / float(spec.negatives + 1), (1,))


@checks.located
def hsigmoid(
    input: Tensor,
    label: Tensor,
    num_classes: int,
    param_attr: object = None,
    bias_attr: object = None,
    name: str | None = None,
    path_table: Tensor | None = None,
    path_code: Tensor | None = None,
    is_custom: bool = False,
    is_sparse: bool = False,
) -> Tensor:
    """Σ_j −ln σ(z_j) where bit j of the label's path is 1, −ln σ(−z_j) where it is 0; z_j = x·W[node_j] + b[node_j].

    The path leads through a binary tree of classes: the complete one, or one that is given by its paths. The weights,
    a row per inner node, and the bias are parameters that this layer makes. What a step costs grows with the length
    of the paths, about log₂ K.

    Args:
        input: x, [N, D], D known.
        label: the class of each row, int64 or int32, [N, 1]; not used with a custom tree.
        num_classes: K; with a custom tree the number of inner nodes.
        param_attr: of the weights [K−1, D] ([num_classes, D] for a custom tree); by default Xavier-uniform.
        bias_attr: of the bias [K−1, 1] ([num_classes, 1]): the same, or False for none; by default zeros.
        name: of the layer.
        path_table: for each row the inner nodes from leaf to root, int64, [N, L], L known; the first negative entry
            ends a path.
        path_code: the bits at these nodes, of the same shape.
        is_custom: whether the tree is given.
        is_sparse: without effect; gradients of rows are sums over the rows that occur, in any case.

    Returns:
        [N, 1]: the sum over the path exactly, without ln 2 for each step that a shorter path lacks, and without a
        bound on z.

    Raises:
        LabelError (in the run): a label outside [0, K), a node outside [0, num_classes), a bit other than 0 and 1.
        UnsupportedError: in eager mode, where `dygraph.HSigmoid` keeps the parameters. AttrError, ShapeError,
        DtypeError, ArgumentTypeError: at the call.

    Source:
        Morin and Bengio, Hierarchical probabilistic neural network language model, 2005;
        paddle.fluid.layers.hsigmoid.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     x, y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int64")
        ...     loss = gl.layers.hsigmoid(x, y, 2, param_attr=gl.initializer.Constant(0.05))
        >>> exe = gl.Executor(gl.CPUPlace())
        >>> _ = exe.run(startup)
        >>> feed = {"x": np.full((1, 3), 0.9, "float32"), "y": np.array([[1]])}
        >>> print(exe.run(main, feed=feed, fetch_list=[loss])[0].round(4))
        [[0.6279]]
    """
    where = "hsigmoid"
    x, width = vocabulary_arguments.features(input, where)
    require_program(x, where, "dygraph.HSigmoid keeps the parameters in eager mode")
    classes = vocabulary_arguments.require_one_tree(num_classes, path_table, path_code, is_custom, where)
    y = vocabulary_arguments.one_label(label, x, where)
    with layer_context(where, name) as made:
        if is_custom:
            path, nodes = given_tree(*vocabulary_arguments.tree_paths(path_table, path_code, x, where)), classes
        else:
            path, nodes = complete_tree(y, classes), classes - 1
        weight = _weight(param_attr, [nodes, width], x.type.dtype, made, where)
        bias = make_parameter(bias_attr, [nodes, 1], x.type.dtype, made, is_bias=True)
        return ops.unsqueeze(hierarchical(x, path, weight, bias), (1,))


@checks.located
def sampled_softmax_with_cross_entropy(
    logits: Tensor,
    label: Tensor,
    num_samples: int,
    num_true: int = 1,
    remove_accidental_hits: bool = True,
    use_customized_samples: bool = False,
    customized_samples: Tensor | None = None,
    customized_probabilities: Tensor | None = None,
    seed: int = 0,
    *,
    step: Tensor | None = None,
) -> Tensor:
    """−(1/T) Σ_t ln softmax(s)_t over the T labels of a row and S drawn classes, s_c = logits_c − ln Q(c).

    All rows share S different classes, drawn from P(c) = ln((c+2)/(c+1))/ln(K+1) until there are S. Q(c) is S·P(c) if
    S draws did, else 1 − (1−P(c))^draws. The cross entropy is thus an estimate of that over all K classes.

    Args:
        logits: [N, K], K known.
        label: int64 or int32, [N, T], T = num_true.
        num_samples: S, at most K.
        num_true: T.
        remove_accidental_hits: a drawn class that is a label of the row counts for nothing there: its logit loses
            1e20.
        use_customized_samples: take samples and Q from the two arguments below.
        customized_samples: int64, [N, T+S]: labels, then samples of each row.
        customized_probabilities: their Q, of the same shape, above 0; gets no gradient.
        seed, step: of the draws, as in `nce`.

    Returns:
        [N, 1].

    Raises:
        LabelError (in the run): a label or sample outside [0, K). AttrError, ShapeError, DtypeError,
        ArgumentTypeError: at the call.

    Source:
        Jean, Cho, Memisevic and Bengio, On using very large target vocabulary for neural machine translation, 2015;
        paddle.fluid.layers.sampled_softmax_with_cross_entropy.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1.0, 0.5, -0.2, 0.3, 2.0]]))
        ...     y = gl.dygraph.to_variable(np.array([[1]]))
        ...     gl.layers.sampled_softmax_with_cross_entropy(x, y, num_samples=5, seed=1).numpy().round(4).tolist()
        [[2.2222]]
    """
    where = "sampled_softmax_with_cross_entropy"
    x, classes = vocabulary_arguments.features(logits, where)
    y, true = vocabulary_arguments.class_columns(label, x, where)
    wanted = vocabulary_arguments.count(num_samples, "num_samples", where)
    if vocabulary_arguments.count(num_true, "num_true", where) != true:
        raise ShapeError(f"{where}: the labels are not num_true columns", f"[N, {num_true}]", checks.shape_text(y))
    with layer_context(where, None):
        if use_customized_samples:
            ids, log_q = _customized(customized_samples, customized_probabilities, x, true + wanted, where)
        elif wanted > classes:
            raise AttrError(f"{where}: more samples are asked for than there are classes", f"at most {classes}", wanted)
        else:
            seed = drawn_seed(vocabulary_arguments.count(seed, "seed", where, 0))
            at = vocabulary_arguments.random_step(step, where)
            ids, log_q = draw(classes, wanted, seed, at).beside(ops.check_index(y, classes), x.type.dtype)
        return ops.unsqueeze(sampled_softmax(ops.take_along(x, ids, 1), ids, log_q, true, remove_accidental_hits), (1,))


def _customized(samples: object, probabilities: object, x: Tensor, entries: int, where: str) -> tuple[Tensor, Tensor]:
    if samples is None or probabilities is None:
        missing = "customized_samples" if samples is None else "customized_probabilities"
        raise AttrError(f"{where}: use_customized_samples needs both samples and probabilities", got=f"no {missing}")
    ids, got = vocabulary_arguments.class_columns(samples, x, where)
    q = checks.tensor(probabilities, "customized_probabilities", where)
    if got != entries:
        raise ShapeError(
            f"{where}: customized_samples are labels and samples", f"[N, {entries}]", checks.shape_text(ids)
        )
    checks.require_same_dtype(x, q, where, "customized_probabilities")
    checks.require_same_shape(ids, q, where, "customized_probabilities")
    return ids, ops.log(held(q))


def _weight(attr: object, shape: Sequence[int], dtype: str, made: Layer, where: str) -> Parameter:
    weight = make_parameter(attr, shape, dtype, made)
    if weight is None:
        raise AttrError(f"{where}: the weights cannot be left out", got="param_attr=False")
    return weight


def _stored(table: npt.NDArray[np.generic], made: Layer) -> Parameter:
    """A table that the startup program writes once; nothing trains it."""
    attr = ParamAttr(initializer=NumpyArrayInitializer(table), trainable=False)
    parameter = make_parameter(attr, table.shape, dtypes.canonical(table.dtype), made)
    assert parameter is not None
    return parameter
