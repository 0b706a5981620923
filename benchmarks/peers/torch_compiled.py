"""torch.compile of the same functions, for exactly these sizes; the default backend writes C++ and needs g++."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import torch

from benchmarks.peers.numpy_arrays import Array, Asked, Result
from benchmarks.peers.torch_eager import LOSSES, differentiated

FOLDER = tempfile.TemporaryDirectory()  # so that first calls find nothing there; goes with the process
os.environ["TORCHINDUCTOR_CACHE_DIR"] = FOLDER.name


def runner(case: Asked, x: Array, y: Array) -> Callable[[], Result]:
    torch._dynamo.reset()  # else a second size makes it try one code for all sizes
    return differentiated(torch.compile(LOSSES[case.kind], dynamic=False), x, y)
