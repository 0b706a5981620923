"""Fluid's metrics: numbers gathered over the batches of an epoch, on arrays that runs have returned."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, UnsupportedError, ValueRangeError

__all__ = ["Accuracy", "Auc", "CompositeMetric", "EditDistance", "MetricBase", "Precision", "Recall"]

Array: TypeAlias = npt.NDArray[Any]


class MetricBase:
    """Base of metrics: attributes that hold numbers or arrays are its state.

    Args:
        name: what `str()` gives; default: the class's name.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = type(self).__name__ if name is None else str(name)

    def __str__(self) -> str:
        return self._name

    def reset(self) -> None:
        """Back to the state before the first update: numbers and arrays become 0, anything else None."""
        for key, value in self._state().items():
            zero = type(value)(0) if isinstance(value, (int, float)) else None
            setattr(self, key, np.zeros_like(value) if isinstance(value, (np.ndarray, np.generic)) else zero)

    def get_config(self) -> dict[str, object]:
        """The metric's name and state."""
        return {"name": self._name, "states": self._state()}

    def _state(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def update(self, *arguments: Any, **keywords: Any) -> None:
        """Takes one batch in; a subclass defines it."""
        raise UnsupportedError(f"{type(self).__name__} has no update", hint="define one in the subclass")

    def eval(self) -> Any:
        """The metric of all batches since the last reset; a subclass defines it."""
        raise UnsupportedError(f"{type(self).__name__} has no eval", hint="define one in the subclass")


class CompositeMetric(MetricBase):
    """Several metrics over the same predictions and labels.

    Example:
        >>> both = CompositeMetric()
        >>> both.add_metric(Precision())
        >>> both.add_metric(Recall())
        >>> both.update(np.array([[0.9], [0.8], [0.2]]), np.array([[1], [0], [1]]))
        >>> both.eval()
        [0.5, 0.5]
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._metrics: list[MetricBase] = []

    def add_metric(self, metric: MetricBase) -> None:
        """Takes a metric in.

        Raises:
            ArgumentTypeError: it is none.
        """
        if not isinstance(metric, MetricBase):
            raise ArgumentTypeError("add_metric takes a metric", "MetricBase", type(metric).__name__)
        self._metrics.append(metric)

    def reset(self) -> None:
        for metric in self._metrics:
            metric.reset()

    def update(self, preds: object, labels: object) -> None:
        """Updates each metric."""
        for metric in self._metrics:
            metric.update(preds, labels)

    def eval(self) -> list[Any]:
        """What each metric gives, in the order they were added."""
        return [metric.eval() for metric in self._metrics]


class Precision(MetricBase):
    """TP / (TP + FP) of two classes, 0 where nothing is predicted positive.

    Example:
        >>> metric = Precision()
        >>> metric.update(np.array([[0.1], [0.7], [0.8]]), np.array([[0], [1], [0]]))
        >>> metric.eval()
        0.5
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.tp = 0
        self.fp = 0

    def update(self, preds: object, labels: object) -> None:
        """Takes probabilities of the positive class, [N, 1] or [N], and labels 0 and 1 of the same size."""
        predicted, actual = _decisions("Precision", preds, labels)
        self.tp += int((predicted & actual).sum())
        self.fp += int((predicted & ~actual).sum())

    def eval(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0


class Recall(MetricBase):
    """TP / (TP + FN) of two classes, 0 where nothing is positive.

    Example:
        >>> metric = Recall()
        >>> metric.update(np.array([[0.1], [0.7], [0.8]]), np.array([[1], [1], [1]]))
        >>> round(metric.eval(), 4)
        0.6667
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.tp = 0
        self.fn = 0

    def update(self, preds: object, labels: object) -> None:
        """Takes probabilities of the positive class, [N, 1] or [N], and labels 0 and 1 of the same size."""
        predicted, actual = _decisions("Recall", preds, labels)
        self.tp += int((predicted & actual).sum())
        self.fn += int((~predicted & actual).sum())

    def eval(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0


class Accuracy(MetricBase):
    """The mean of the batches' accuracies, weighted by their sizes.

    Example:
        >>> metric = Accuracy()
        >>> metric.update(value=0.5, weight=10)
        >>> metric.update(value=1.0, weight=30)
        >>> metric.eval()
        0.875
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.value = 0.0
        self.weight = 0.0

    def update(self, value: object, weight: object) -> None:
        """Takes the accuracy of a batch, as `layers.accuracy` gives it, and the number of its rows."""
        share, size = _number(value, "Accuracy: value"), _number(weight, "Accuracy: weight")
        if size < 0:
            raise ValueRangeError("Accuracy: weight is negative", "0 or more", size)
        self.value += share * size
        self.weight += size

    def eval(self) -> float:
        """The mean.

        Raises:
            ValueRangeError: no batch with any rows has come.
        """
        if self.weight == 0:
            raise ValueRangeError("Accuracy: there is no mean of no rows", hint="call update first")
        return self.value / self.weight


class EditDistance(MetricBase):
    """The mean edit distance of sequences, and the share of sequences that are not right.

    Example:
        >>> metric = EditDistance()
        >>> metric.update(np.array([[0.0], [3.0]]), np.array([2]))
        >>> metric.eval()
        (1.5, 0.5)
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.total_distance = 0.0
        self.seq_num = 0
        self.instance_error = 0

    def update(self, distances: object, seq_num: object) -> None:
        """Takes the distances of a batch of sequences, and how many they are, as `layers.edit_distance` gives them."""
        found, count = _array(distances, "EditDistance: distances"), int(_number(seq_num, "EditDistance: seq_num"))
        self.total_distance += float(found.sum())
        self.seq_num += count
        self.instance_error += count - int((found == 0).sum())

    def eval(self) -> tuple[float, float]:
        """Both means.

        Raises:
            ValueRangeError: no sequence has come.
        """
        if self.seq_num == 0:
            raise ValueRangeError("EditDistance: there is no mean of no sequences", hint="call update first")
        return self.total_distance / self.seq_num, self.instance_error / self.seq_num


class Auc(MetricBase):
    """The area under the ROC curve, by trapezoids between `num_thresholds` + 1 thresholds spread evenly over [0, 1].

    0 where one of the two classes has not come. Predictions between the same thresholds count as ties.

    Example:
        >>> metric = Auc("auc")
        >>> metric.update(np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]), np.array([[0], [0], [1], [1]]))
        >>> metric.eval()
        0.75
    """

    def __init__(self, name: str | None = None, curve: str = "ROC", num_thresholds: int = 4095) -> None:
        super().__init__(name)
        if curve != "ROC":
            raise AttrError("Auc: an unknown curve", "'ROC'", repr(curve))
        if isinstance(num_thresholds, bool) or not isinstance(num_thresholds, int) or num_thresholds < 1:
            raise AttrError("Auc: num_thresholds must be a positive integer", got=repr(num_thresholds))
        self._num_thresholds = num_thresholds
        self.stat_pos = np.zeros(num_thresholds + 1, np.int64)
        self.stat_neg = np.zeros(num_thresholds + 1, np.int64)

    def update(self, preds: object, labels: object) -> None:
        """Takes probabilities [N, 2], the positive class second, and labels [N, 1] or [N], 0 for the negative class.

        Raises:
            ValueRangeError: a probability outside [0, 1].
        """
        table, actual = _array(preds, "Auc: preds"), _array(labels, "Auc: labels").reshape(-1) != 0
        if table.ndim != 2 or table.shape != (len(actual), 2):
            raise ShapeError("Auc: preds has a column for each of two classes", f"[{len(actual)}, 2]", table.shape)
        positive = table[:, 1]
        bad = ~((positive >= 0) & (positive <= 1))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueRangeError(f"Auc: row {row} is no probability", "a number in [0, 1]", positive[row])
        places = (positive * self._num_thresholds).astype(np.int64)
        for stat, chosen in ((self.stat_pos, actual), (self.stat_neg, ~actual)):
            stat += np.bincount(places[chosen], minlength=len(stat))

    def eval(self) -> float:
        above = np.cumsum(self.stat_pos[::-1])[::-1]
        area = float((self.stat_neg * (2 * above - self.stat_pos)).sum()) / 2
        pairs = int(self.stat_pos.sum()) * int(self.stat_neg.sum())
        return area / pairs if pairs else 0.0


def _decisions(what: str, preds: object, labels: object) -> tuple[Array, Array]:
    """Which rows are predicted positive, and which are."""
    predicted, actual = (np.ravel(_array(a, f"{what}: {n}")) for a, n in ((preds, "preds"), (labels, "labels")))
    if predicted.shape != actual.shape:
        raise ShapeError(f"{what}: preds and labels differ in size", predicted.size, actual.size)
    return np.rint(predicted) == 1, actual == 1


def _array(value: object, what: str) -> Array:
    """`value` as an array of numbers."""
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "biuf":
        raise ArgumentTypeError(f"{what} is an array of numbers", "ndarray", type(value).__name__)
    return np.asarray(value)


def _number(value: object, what: str) -> float:
    """`value`, a number or an array of one."""
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.reshape(()))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{what} is a number, or an array of one", "float", type(value).__name__)
    return float(value)
