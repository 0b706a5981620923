"""CompiledProgram and the strategies of Fluid, mapped onto compile options."""

from __future__ import annotations

from dataclasses import replace

from graphloss.errors import ArgumentTypeError, UnsupportedError
from graphloss.ir.program import Program
from graphloss.options import CompileOptions
from graphloss.runtime.arguments import check_program


class BuildStrategy:
    """Fluid's switches, and `passes`, graphloss's own: False switches every rewrite off.

    `fuse_elewise_add_act_ops` and `enable_auto_fusion` are always on here; the others are accepted and have no effect
    on one machine.
    """

    class ReduceStrategy:
        AllReduce = 0
        Reduce = 1

    class GradientScaleStrategy:
        CoeffNumDevice = 0
        One = 1
        Customized = 2

    def __init__(self) -> None:
        self.passes = True
        self.fuse_elewise_add_act_ops = False
        self.enable_auto_fusion = False
        self.memory_optimize: bool | None = None
        self.enable_inplace = True
        self.debug_graphviz_path = ""
        self.cache_runtime_context = False
        self.remove_unnecessary_lock = True
        self.enable_sequential_execution = False
        self.reduce_strategy = self.ReduceStrategy.AllReduce
        self.gradient_scale_strategy = self.GradientScaleStrategy.CoeffNumDevice
        self.num_trainers = 1
        self.trainer_id = 0
        self.fuse_all_reduce_ops: bool | None = None
        self.fuse_broadcast_ops: bool | None = None
        self.fuse_all_optimizer_ops = False
        self.fuse_bn_act_ops = False
        self.fuse_relu_depthwise_conv = False
        self.is_distribution = False
        self.sync_batch_norm = False


class ExecutionStrategy:
    """`num_threads` is how many threads kernels may use; 0: as `set_num_threads` says. The others have no effect."""

    def __init__(self) -> None:
        self.num_threads = 0
        self.num_iteration_per_drop_scope = 100
        self.num_iteration_per_run = 1
        self.use_thread_barrier = False
        self.allow_op_delay = False


class CompiledProgram:
    """A program with its own compile options; `Executor.run` takes it wherever it takes a Program.

    Raises:
        ArgumentTypeError: `program_or_graph` is not a Program, `build_strategy` no BuildStrategy.
    """

    def __init__(self, program_or_graph: Program, build_strategy: BuildStrategy | None = None) -> None:
        if not isinstance(program_or_graph, Program):
            got = type(program_or_graph).__name__
            raise ArgumentTypeError("CompiledProgram takes a Program", expected="Program", got=got)
        _check(build_strategy, BuildStrategy)
        self.program = program_or_graph
        self._build = build_strategy or BuildStrategy()
        self._execution = ExecutionStrategy()
        self._parallel = False

    def with_data_parallel(
        self,
        loss_name: str | None = None,
        build_strategy: BuildStrategy | None = None,
        exec_strategy: ExecutionStrategy | None = None,
        share_vars_from: CompiledProgram | None = None,
        places: object = None,
    ) -> CompiledProgram:
        """Takes the strategies. One place computes the whole batch with all its threads, as splitting it would.

        Raises:
            UnsupportedError: a second call.
            ArgumentTypeError: a strategy that is none.
        """
        if self._parallel:
            raise UnsupportedError("with_data_parallel was called already", hint="make a new CompiledProgram")
        _check(build_strategy, BuildStrategy)
        _check(exec_strategy, ExecutionStrategy)
        self._parallel = True
        self._build = build_strategy or self._build
        self._execution = exec_strategy or self._execution
        return self

    def options(self, base: CompileOptions) -> CompileOptions:
        threads = self._execution.num_threads or base.threads
        return replace(base, passes=base.passes and self._build.passes, threads=threads)


def uncompiled(program: object, options: CompileOptions | None, what: str) -> tuple[Program, CompileOptions]:
    """The program of either kind, and the options that it is compiled with."""
    options = options or CompileOptions()
    if isinstance(program, CompiledProgram):
        return program.program, program.options(options)
    check_program(program, what, "Program or CompiledProgram")
    assert isinstance(program, Program)
    return program, options


def _check(strategy: object, kind: type) -> None:
    if strategy is not None and not isinstance(strategy, kind):
        what = "CompiledProgram takes the strategies that Fluid has"
        raise ArgumentTypeError(what, expected=kind.__name__, got=type(strategy).__name__)
