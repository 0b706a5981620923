"""Hierarchical softmax: a class is a path of two-way decisions through a tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks
from graphloss.losses.scores import chosen_scores


@dataclass(frozen=True, slots=True)
class Path:
    """For each row its inner nodes, leaf to root, and the bits taken there, both [N, L]; `on` is False behind the end.

    Nodes behind the end are 0. `on` is None where all paths are full.
    """

    node: Tensor
    bit: Tensor
    on: Tensor | None


def complete_tree(label: Tensor, classes: int) -> Path:
    """The path of each label [N] in the complete binary tree of `classes` leaves, whose inner nodes are 0 … classes−2.

    With code = label + classes, step j is at node (code ≫ (j+1)) − 1 and takes bit (code ≫ j) & 1.
    """
    longest = (2 * classes - 1).bit_length() - 1
    code = ops.unsqueeze(cast(ops.check_index(label, classes), "float64"), (1,)) + float(classes)
    # exact, and many times as fast as a division of integers
    shifted = cast(ops.floor(code * ops.literal(0.5 ** np.arange(longest + 1)[None])), "int64")
    above = ops.getitem(shifted, (slice(None), slice(1, None)))
    bit = ops.getitem(shifted, (slice(None), slice(0, longest))) - 2 * above
    if classes & (classes - 1) == 0:
        return Path(above - 1, bit, None)
    on = above > 0
    return Path(ops.where(on, above - 1, 0), bit, on)


def given_tree(table: Tensor, code: Tensor) -> Path:
    """Paths that are data: the first negative node ends one."""
    # what follows a negative node does not count, whatever it is
    on = ops.equal(ops.cumsum(cast(table < 0, "int64"), 1), 0)
    with checks.calling(index="path_code"):
        bit = ops.check_index(ops.where(on, code, 0), 2)
    return Path(ops.where(on, table, 0), bit, on)


def hierarchical(x: Tensor, path: Path, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Σ over the path of −ln σ(z) where the bit is 1, −ln σ(−z) where it is 0; z = x·W[node] + b[node]. [N].

    x [N, D]; W [nodes, D]; b [nodes, 1].
    """
    with checks.calling(index="path_table"):  # nodes of a complete tree are in range
        z = chosen_scores(x, path.node, weight, bias)
    terms = ops.softplus(ops.where(ops.equal(path.bit, 0), z, -z))
    return ops.reduce_sum(terms if path.on is None else ops.where(path.on, terms, 0.0), (1,))
