"""Parameters: persistable variables that an optimiser trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphloss.ir.location import Location
from graphloss.ir.types import TensorType
from graphloss.ir.variable import Variable

if TYPE_CHECKING:
    from graphloss.ir.block import Block


class Parameter(Variable):
    """A persistable Variable with what training it takes; made by `Block.create_parameter`."""

    def __init__(
        self,
        block: Block,
        name: str,
        type: TensorType,
        *,
        trainable: bool = True,
        optimize_attr: Mapping[str, float] | None = None,
        regularizer: object = None,
        do_model_average: bool | None = None,
        is_distributed: bool = False,
        location: Location | None = None,
    ) -> None:
        super().__init__(block, name, type, persistable=True, stop_gradient=not trainable, location=location)
        self.trainable = trainable
        self.optimize_attr: dict[str, float] = dict(optimize_attr or {"learning_rate": 1.0})
        self.regularizer = regularizer
        self.gradient_clip: object = None
        self.do_model_average = do_model_average
        self.is_distributed = is_distributed

    def _details(self) -> dict[str, object]:
        return {
            "trainable": self.trainable,
            "optimize_attr": self.optimize_attr,
            "regularizer": self.regularizer,
            **super()._details(),
        }
