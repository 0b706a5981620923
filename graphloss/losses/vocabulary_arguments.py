"""The arguments of the losses over a large vocabulary, checked: inputs, labels, classes, negatives, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks
from graphloss.losses.nce import Noise, custom_noise, forced, log_uniform_noise, uniform_noise

SAMPLERS = ("uniform", "log_uniform", "custom_dist")
DEFAULT_NEGATIVES = 10

Array = npt.NDArray[np.generic]


def features(value: object, where: str) -> tuple[Tensor, int]:
    """The input [N, D] and its D, which must be known."""
    x = checks.tensor(value, "input", where)
    checks.require_float(x, where)
    width = x.type.shape[1] if x.type.rank == 2 else None
    if not isinstance(width, int):
        raise ShapeError(f"{where}: the input is a matrix of known width", "[N, D]", checks.shape_text(x))
    return x, width


def class_columns(value: object, x: Tensor, where: str) -> tuple[Tensor, int]:
    """Labels [N, T], int64, and their T, which must be known; [N] counts as [N, 1]."""
    y = checks.tensor(value, "label", where)
    checks.require_class_dtype(y, where)
    if y.type.rank == 1:
        y = ops.unsqueeze(y, (1,))
    true = y.type.shape[1] if y.type.rank == 2 else None
    if not isinstance(true, int) or true < 1 or not checks.may_be_equal(y.type.shape[0], x.type.shape[0]):
        raise ShapeError(
            f"{where}: the labels do not fit the input {checks.shape_text(x)}",
            f"[{x.type.shape[0]}, T], T known", checks.shape_text(y),
        )  # fmt: skip
    return cast(y, "int64"), true


def one_label(value: object, x: Tensor, where: str) -> Tensor:
    """Labels [N], which may come as [N, 1]."""
    y, true = class_columns(value, x, where)
    if true != 1:
        raise ShapeError(f"{where}: a row has one label", f"[{x.type.shape[0]}, 1]", checks.shape_text(y))
    return ops.squeeze(y, 1)


def row_weight(value: object, x: Tensor, where: str) -> Tensor | None:
    """A weight per row: [N, 1] or [N], of the input's dtype; as [N]."""
    w = checks.optional_tensor(value, "sample_weight", where)
    if w is None:
        return None
    checks.require_same_dtype(x, w, where, "sample_weight")
    n = x.type.shape[0]
    fits = w.type.rank in (1, 2) and checks.may_be_equal(w.type.shape[0], n) and w.type.shape[1:] in ((), (1,))
    if not fits:
        raise ShapeError(f"{where}: sample_weight holds a number per row", f"[{n}, 1]", checks.shape_text(w))
    return ops.squeeze(w, 1) if w.type.rank == 2 else w


def count(value: object, name: str, where: str, least: int = 1) -> int:
    """A whole number from `least` on."""
    if isinstance(value, np.integer):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{where}: {name} is no whole number", "int", type(value).__name__)
    if value < least:
        raise AttrError(f"{where}: {name} is out of range", f"{least} or more", value)
    return value


def random_step(value: object, where: str) -> Tensor | None:
    """The step of a random stream: an int64 Variable of one element, as 0-d; None is none."""
    step = checks.optional_tensor(value, "step", where)
    if step is None:
        return None
    checks.require_class_dtype(step, where, ("int64",))
    if step.type.size != 1:
        raise ShapeError(f"{where}: step is one number", "[] or [1]", checks.shape_text(step))
    return ops.reshape(step, ()) if step.type.rank else step


@dataclass(frozen=True)
class NoiseSpec:
    """What the arguments of a noise-contrastive loss say of its negatives, checked.

    `tables` are those of a custom distribution: the probabilities, and their alias table.
    """

    classes: int
    negatives: int
    sampler: str
    seed: int
    tables: tuple[Array, ...]
    always: tuple[int, ...] | None

    def noise(self, tables: Sequence[Tensor], seed: int, step: Tensor | None) -> Noise:
        """The distribution, with `tables` as tensors."""
        if self.sampler == "uniform":
            made = uniform_noise(self.classes, seed, step)
        elif self.sampler == "log_uniform":
            made = log_uniform_noise(self.classes, seed, step)
        else:
            p, own, other = tables
            made = custom_noise(p, own, other, seed, step)
        return made if self.always is None else forced(self.always, made)


def noise_spec(
    classes: object, negatives: object, sampler: object, distribution: object, seed: object, always: object, dtype: str,
    where: str,
) -> NoiseSpec:  # fmt: skip
    """The arguments num_total_classes, num_neg_samples, sampler, custom_dist, seed and custom_neg_classes."""
    k = count(classes, "num_total_classes", where)
    s = count(DEFAULT_NEGATIVES if negatives is None else negatives, "num_neg_samples", where)
    if sampler not in SAMPLERS:
        raise AttrError(f"{where}: unknown sampler", " | ".join(SAMPLERS), repr(sampler))
    if sampler == "log_uniform" and k < 2:
        raise AttrError(f"{where}: log_uniform draws from two classes or more", "num_total_classes >= 2", k)
    tables: tuple[Array, ...] = ()
    if sampler == "custom_dist":
        p = _distribution(distribution, k, where)
        tables = (p.astype(dtype), *ops.alias_table(p.tolist()))
    return NoiseSpec(k, s, str(sampler), count(seed, "seed", where, 0), tables, _always(always, k, s, where))


def _distribution(value: object, classes: int, where: str) -> npt.NDArray[np.float64]:
    if value is None:
        raise AttrError(f"{where}: the sampler custom_dist needs custom_dist", f"{classes} probabilities", "None")
    try:
        p = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{where}: custom_dist holds no numbers", "a list of float", repr(value)) from None
    if p.shape != (classes,):
        raise ShapeError(f"{where}: custom_dist holds a probability per class", [classes], list(p.shape))
    if not (np.isfinite(p).all() and (p >= 0).all() and abs(p.sum() - 1) < 1e-3):
        raise AttrError(
            f"{where}: custom_dist is no distribution", "numbers from 0 on whose sum is 1",
            f"from {p.min():g} on, sum {p.sum():g}",
        )  # fmt: skip
    return p


def _always(value: object, classes: int, negatives: int, where: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
        raise ArgumentTypeError(f"{where}: custom_neg_classes is no list", "a list of int", type(value).__name__)
    given = tuple(count(c, "a class of custom_neg_classes", where, 0) for c in value)
    if len(given) != negatives or max(given) >= classes:
        raise AttrError(
            f"{where}: custom_neg_classes does not fit", f"num_neg_samples = {negatives} classes below {classes}", given
        )
    return given


def tree_paths(table: object, code: object, x: Tensor, where: str) -> tuple[Tensor, Tensor]:
    """path_table and path_code, [N, L] int64, L known."""
    found = []
    for value, name in ((table, "path_table"), (code, "path_code")):
        t = checks.tensor(value, name, where)
        checks.require_class_dtype(t, where)
        length = t.type.shape[1] if t.type.rank == 2 else None
        if not isinstance(length, int) or not checks.may_be_equal(t.type.shape[0], x.type.shape[0]):
            raise ShapeError(
                f"{where}: {name} holds a path per row", f"[{x.type.shape[0]}, L], L known", checks.shape_text(t)
            )
        found.append(cast(t, "int64"))
    if not checks.same_shape(*found):
        raise ShapeError(
            f"{where}: path_code and path_table have different shapes",
            checks.shape_text(found[0]), checks.shape_text(found[1]),
        )  # fmt: skip
    return found[0], found[1]


def require_one_tree(classes: object, table: object, code: object, is_custom: bool, where: str) -> int:
    """num_classes, after a check that the arguments describe either the complete tree or a custom one."""
    if not is_custom:
        if table is not None or code is not None:
            raise AttrError(f"{where}: paths are given, but the tree is not custom", "is_custom=True", "False")
        return count(classes, "num_classes", where, 2)
    if table is None or code is None:
        missing = "path_table" if table is None else "path_code"
        raise AttrError(f"{where}: a custom tree needs both path_table and path_code", got=f"no {missing}")
    return count(classes, "num_classes", where)
