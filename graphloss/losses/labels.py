"""Class labels: which rows count, and an index that is safe to use for the others."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss import ops
from graphloss.ir.tensor import Tensor, apply, cast


@dataclass(frozen=True, slots=True)
class Labels:
    """`index` is the label, 0 in ignored rows, so that every other label is still checked by what indexes with it.

    `keep` is None where no label can be ignored.
    """

    index: Tensor
    keep: Tensor | None

    def kept(self, values: Tensor) -> Tensor:
        """`values`, exactly 0 in ignored rows whatever is there (and so is their gradient)."""
        return values if self.keep is None else ops.where(self.keep, values, 0.0)

    def weights(self, per_class: Tensor | None, dtype: str) -> Tensor:
        """What each row counts for: the weight of its class (1 without weights), 0 if ignored."""
        if per_class is not None:
            return self.kept(apply("gather", (per_class, self.index), {})[0])
        if self.keep is None:
            return ops.fill(self.index.type.shape, 1.0, dtype)
        return cast(self.keep, dtype)


def labels(label: Tensor, ignore_index: int | None) -> Labels:
    """Splits integer labels into the rows that count and a safe index."""
    index = cast(label, "int64")
    if ignore_index is None:
        return Labels(index, None)
    keep = index != ignore_index
    return Labels(ops.where(keep, index, 0), keep)


def along(per_class: Tensor, rank: int, axis: int) -> Tensor:
    """A vector over the classes, shaped to broadcast against a tensor of `rank` whose classes are on `axis`."""
    after = rank - 1 - axis % rank
    return ops.unsqueeze(per_class, tuple(range(1, 1 + after))) if after else per_class


def held(x: Tensor) -> Tensor:
    """`x`, without a gradient through this use of it; itself where its handle says so already."""
    return x if getattr(x, "stop_gradient", False) else ops.detach(x)


def stopped(x: Tensor) -> Tensor:
    """`x`, a result, marked so that no gradient flows through it."""
    setattr(x, "stop_gradient", True)  # noqa: B010  # program variables and eager arrays both have it, their base does not
    return x
