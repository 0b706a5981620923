"""Fluid's functions that store programs and values: arrays as NumPy files without pickle, programs as their text."""

from graphloss.io.inference import load_inference_model, save_inference_model
from graphloss.io.state import (
    get_program_parameter,
    get_program_persistable_vars,
    load,
    load_dygraph,
    load_program_state,
    save,
    save_dygraph,
    set_program_state,
)
from graphloss.io.variables import (
    is_parameter,
    is_persistable,
    load_params,
    load_persistables,
    load_vars,
    save_params,
    save_persistables,
    save_vars,
)

__all__ = [
    "get_program_parameter",
    "get_program_persistable_vars",
    "is_parameter",
    "is_persistable",
    "load",
    "load_dygraph",
    "load_inference_model",
    "load_params",
    "load_persistables",
    "load_program_state",
    "load_vars",
    "save",
    "save_dygraph",
    "save_inference_model",
    "save_params",
    "save_persistables",
    "save_vars",
    "set_program_state",
]
