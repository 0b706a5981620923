"""What a layer may be told about a parameter it makes."""

from __future__ import annotations

from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.initializer import Initializer


class ParamAttr:
    """Name, first value and training of a parameter.

    Args:
        name: its name; parameters of one name are one parameter. None makes a name.
        initializer: its first value; None takes the layer's default.
        learning_rate: factor on the optimiser's learning rate.
        regularizer: replaces the optimiser's for this parameter.
        trainable: False keeps it as it is.
        do_model_average: kept for programs that set it; nothing averages models.

    Raises:
        AttrError: the name is empty. ArgumentTypeError: an argument of the wrong type.

    Example:
        >>> ParamAttr(name="w", learning_rate=0.5).learning_rate
        0.5
    """

    def __init__(
        self,
        name: str | None = None,
        initializer: Initializer | None = None,
        learning_rate: float = 1.0,
        regularizer: object = None,
        trainable: bool = True,
        do_model_average: bool = True,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise ArgumentTypeError("ParamAttr: the name is a text", "str or None", type(name).__name__)
        if name == "":
            raise AttrError("ParamAttr: the name is empty")
        if initializer is not None and not isinstance(initializer, Initializer):
            raise ArgumentTypeError(
                "ParamAttr: the wrong kind of initializer", "an Initializer", type(initializer).__name__
            )
        self.name = name
        self.initializer = initializer
        self.learning_rate = float(learning_rate)
        self.regularizer = regularizer
        self.trainable = trainable
        self.do_model_average = do_model_average

    def named(self, name: str) -> ParamAttr:
        """The same with a name."""
        return ParamAttr(
            name, self.initializer, self.learning_rate, self.regularizer, self.trainable, self.do_model_average
        )

    @staticmethod
    def of(attr: object) -> ParamAttr | None:
        """What a param_attr or bias_attr argument means: None and True are defaults, False is no parameter at all,

        a text is a name, an initialiser is a first value.
        """
        if attr is None or attr is True:
            return ParamAttr()
        if attr is False:
            return None
        if isinstance(attr, ParamAttr):
            return attr
        if isinstance(attr, str):
            return ParamAttr(name=attr)
        if isinstance(attr, Initializer):
            return ParamAttr(initializer=attr)
        raise ArgumentTypeError(
            "this does not describe a parameter", "None, bool, str, ParamAttr or an Initializer", type(attr).__name__
        )

    def __repr__(self) -> str:
        return f"ParamAttr(name={self.name!r}, learning_rate={self.learning_rate}, trainable={self.trainable})"
