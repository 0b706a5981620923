"""What a compilation did: rules that fired and where, kernels, bytes moved, time per stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.printer import print_graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.options import CompileOptions
from graphloss.runtime.arguments import check_program, fetches_of
from graphloss.runtime.compile import Code, compile_graph
from graphloss.schedule.kernel import Access, Column, IndexedLoad, Keep, Kernel, Load, Store, Total
from graphloss.schedule.kernel_text import print_kernel
from graphloss.schedule.values import HostCall


@dataclass(frozen=True)
class Traffic:
    """Bytes that a kernel reads and writes: each buffer once, and again in each further pass over a row that re-reads
    it."""

    read: Dim
    written: Dim

    @property
    def total(self) -> Dim:
        return dims.add(self.read, self.written)


@dataclass(frozen=True)
class Explanation:
    """`str()` shows it all; `rules`, `kernels`, `traffic` and `code` are for programs that ask."""

    code: Code

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules that fired, each once."""
        return self.code.trace.rules()

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.code.plan.kernels

    @property
    def traffic(self) -> tuple[Traffic, ...]:
        return tuple(traffic(k) for k in self.kernels)

    def before(self) -> str:
        """What the fetches need, as it was written, as graph text."""
        return print_graph(self.code.source)

    def after(self) -> str:
        """The same after all passes, as graph text."""
        return print_graph(self.code.graph)

    def loops(self) -> str:
        """Every kernel as loop text."""
        return "\n\n".join(print_kernel(k) for k in self.kernels)

    def llvm_ir(self) -> str:
        return self.code.loaded.llvm_ir() if self.code.loaded else ""

    def assembly(self) -> str:
        return self.code.loaded.assembly() if self.code.loaded else ""

    def __str__(self) -> str:
        return "\n".join([*self._rules(), "", *self._steps(), "", *self._seconds()])

    def _rules(self) -> list[str]:
        records = list(self.code.trace)
        if not records:
            return ["rules: none fired"]
        return [f"rules: {len(records)} fired", *(f"  {r}" for r in records)]

    def _steps(self) -> list[str]:
        lines = [f"kernels: {len(self.kernels)}, of {len(self.code.plan.steps)} steps"]
        for step in self.code.plan.steps:
            if isinstance(step, HostCall):
                lines.append(f"  host {step.op}")
                continue
            t = traffic(step)
            shape = " x ".join(str(n) for n in step.axes) or "scalar"
            lines.append(
                f"  {step.name}: {shape}, {step.tile}, {step.passes} pass{'es' if step.passes != 1 else ''}; "
                f"{_bytes(t)}"
            )
        return lines

    def _seconds(self) -> list[str]:
        cached = " (object code from the cache)" if self.code.loaded is not None and self.code.loaded.from_cache else ""
        return [f"compiled in {1e3 * sum(self.code.seconds.values()):.1f} ms{cached}: "
                + ", ".join(f"{k} {1e3 * v:.1f}" for k, v in self.code.seconds.items())]  # fmt: skip


def explain(
    program: Program, fetch_list: Sequence[Tensor | str] = (), options: CompileOptions | None = None
) -> Explanation:
    """Compiles `program` for these fetches and says what happened.

    Args:
        program: the program; nothing is run.
        fetch_list: variables or names.
        options: as for an Executor.

    Example:
        >>> import graphloss as gl
        >>> main = gl.Program()
        >>> with gl.program_guard(main):
        ...     x = gl.data("x", [None, 10])
        ...     y = gl.layers.log(gl.layers.softmax(x))
        >>> len(gl.explain(main, [y]).kernels)
        1
    """
    check_program(program, "explain")
    return Explanation(compile_graph(program.snapshot(fetches_of(fetch_list)), options or CompileOptions()))


def traffic(kernel: Kernel) -> Traffic:
    """Bytes that a kernel moves. A broadcast operand counts at its own size; partial results and scalars are left
    out."""
    sizes = {b.name: b for b in kernel.buffers}
    read: dict[tuple[str, int], Dim] = {}
    written: dict[tuple[str, int], Dim] = {}
    for node in kernel.nodes:
        action = node.action
        if isinstance(action, (Total, Column)):
            continue
        if isinstance(action, Load):
            for p in node.at or (0,):
                read[action.access.buffer, p] = _extent(kernel, action.access, sizes[action.access.buffer].dtype)
        elif isinstance(action, IndexedLoad):
            read[action.access.buffer, -1 - action.index] = _extent(kernel, action.access, action.dtype)
        elif isinstance(action, Store):
            written[action.access.buffer, -1] = _extent(kernel, action.access, sizes[action.access.buffer].dtype)
        elif isinstance(action, Keep):
            size = _extent(kernel, action.access, action.dtype)
            written[action.access.buffer, node.at[0]] = size
            for p in node.at[1:]:
                read[action.access.buffer, p] = size
    return Traffic(_sum(read), _sum(written))


def _sum(parts: Mapping[tuple[str, int], Dim]) -> Dim:
    total: Dim = 0
    for d in parts.values():
        total = dims.add(total, d)
    return total


def _extent(kernel: Kernel, access: Access, dtype: str) -> Dim:
    varying = tuple(n for n, s in zip(kernel.axes, access.strides, strict=True) if s != 0)
    return dims.mul(dims.product(varying), dtypes.itemsize(dtype))


def _bytes(t: Traffic) -> str:
    return f"reads {t.read} B, writes {t.written} B"
