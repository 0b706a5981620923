"""Adaptive softmax: frequent classes in a head, the others in clusters that only the rows of such a class evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.scores import taken


@dataclass(frozen=True, slots=True)
class Cluster:
    """The classes low … high−1: scores out·(project·x); project [H, F], out [high−low, H]."""

    low: int
    high: int
    project: Tensor
    out: Tensor

    def log_p(self, x: Tensor) -> Tensor:
        """Log-probabilities of its classes, given that it is this cluster: [N, high−low]."""
        hidden = ops.matmul(x, self.project, False, True)
        return ops.log_softmax(ops.matmul(hidden, self.out, False, True), axis=1)


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The head scores the first classes, and after them each cluster as one: weight [short + clusters, F]."""

    weight: Tensor
    bias: Tensor | None
    clusters: Sequence[Cluster]

    @property
    def short(self) -> int:
        """How many classes the head scores by themselves."""
        return self.clusters[0].low

    def head(self, x: Tensor) -> Tensor:
        """Log-probabilities of the first classes and of each cluster: [N, short + clusters]."""
        scores = ops.matmul(x, self.weight, False, True)
        return ops.log_softmax(scores if self.bias is None else scores + self.bias, axis=1)

    def log_p_of(self, x: Tensor, target: Tensor) -> Tensor:
        """ln p(target) per row, [N]: what the head says of the class or its cluster, and what the cluster adds.

        A cluster sees the rows of its classes only; where there are none it computes nothing.
        """
        target = cast(ops.check_index(target, self.clusters[-1].high), "int64")
        place = target
        parts = []
        for i, c in enumerate(self.clusters):
            inside = ops.logical_and(target >= c.low, target < c.high)
            place = ops.where(inside, self.short + i, place)
            rows = ops.rows_where(inside)
            found = ops.pick(c.log_p(taken(x, rows)), taken(target, rows) - c.low, 1)
            parts.append(ops.scatter_add(rows, found, target.type.shape))
        return ops.sums([ops.pick(self.head(x), place, 1), *parts])

    def log_p(self, x: Tensor) -> Tensor:
        """ln p of all classes, [N, K]."""
        head = self.head(x)
        parts = [ops.getitem(head, (slice(None), slice(0, self.short)))]
        for i, c in enumerate(self.clusters):
            parts.append(c.log_p(x) + ops.getitem(head, (slice(None), slice(self.short + i, self.short + i + 1))))
        return ops.concat(parts, 1)

    def best(self, x: Tensor) -> Tensor:
        """The class of each row, [N] int64: the head's favourite, or the likeliest of all where that is a cluster."""
        favourite = ops.argmax(self.head(x), 1)
        short = favourite < self.short
        rows = ops.rows_where(ops.logical_not(short))
        likeliest = ops.argmax(self.log_p(taken(x, rows)), 1)
        return ops.where(short, favourite, 0) + ops.scatter_add(rows, likeliest, favourite.type.shape)
