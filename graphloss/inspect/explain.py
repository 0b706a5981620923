"""What a compilation did: rules that fired and where, kernels, bytes moved, time per stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from graphloss.codegen.table import chunks
from graphloss.inspect.traffic import Traffic, ideal, moved, traffic
from graphloss.ir import dims
from graphloss.ir.printer import print_graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.options import CompileOptions
from graphloss.runtime.arguments import fetches_of
from graphloss.runtime.compile import Code, compile_graph
from graphloss.runtime.compiled_program import CompiledProgram, uncompiled
from graphloss.schedule.kernel_text import print_kernel
from graphloss.schedule.launches import Part, parts
from graphloss.schedule.nest import Native, NestKernel
from graphloss.schedule.values import HostCall


@dataclass(frozen=True)
class Explanation:
    """`str()` shows it all; `rules`, `kernels`, `traffic` and `code` are for programs that ask."""

    code: Code

    @cached_property
    def _parts(self) -> dict[str, Part]:
        return parts(self.code.plan.steps)

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules that fired, each once."""
        return self.code.trace.rules()

    @property
    def kernels(self) -> tuple[Native, ...]:
        """The kernels, without the small steps that begin or finish one of them: see `schedule/launches.py`."""
        return tuple(k for k in self.code.plan.kernels if k.name not in self._parts)

    @property
    def traffic(self) -> tuple[Traffic, ...]:
        """What each kernel, with its small steps, reads from memory and writes to it."""
        total = {k.name: Traffic() for k in self.kernels}
        for k in self.code.plan.kernels:
            total[self._parts[k.name].of if k.name in self._parts else k.name] += traffic(k, self.code.plan.buffers)
        return tuple(total.values())

    @property
    def moved(self) -> Traffic:
        """What all kernels, and the calls between them, move together."""
        return moved(self.code.plan)

    @property
    def ideal(self) -> Traffic:
        """What is needed of each input read once, each result written once."""
        return ideal(self.code.plan)

    def before(self) -> str:
        """What the fetches need, as it was written, as graph text."""
        return print_graph(self.code.source)

    def after(self) -> str:
        """The same after all passes, as graph text."""
        return print_graph(self.code.whole)

    def loops(self) -> str:
        """Every kernel, and every small step of one, as loop text."""
        return "\n\n".join(print_kernel(k) for k in self.code.plan.kernels)

    def llvm_ir(self) -> str:
        return self.code.loaded.llvm_ir() if self.code.loaded else ""

    def assembly(self) -> str:
        return self.code.loaded.assembly() if self.code.loaded else ""

    def __str__(self) -> str:
        return "\n".join([*self._rules(), "", *self._before(), *self._steps(), "", *self._seconds()])

    def _before(self) -> list[str]:
        """What runs first, where sizes of the rest depend on it."""
        if self.code.before is None:
            return []
        first = Explanation(self.code.before.code)
        between = (f"  host {op.type}, which binds sizes of the rest" for op in self.code.before.cut.between)
        return ["run first:", *first._before(), *first._steps(), *between, "then:"]

    def _rules(self) -> list[str]:
        records = list(self.code.trace)
        if not records:
            return ["rules: none fired"]
        return [f"rules: {len(records)} fired", *(f"  {r}" for r in records)]

    def _steps(self) -> list[str]:
        lines = [f"kernels: {len(self.kernels)}, of {len(self.code.plan.steps)} steps"]
        starts = {r.begin: r for r in self.code.plan.regions}
        for number, step in enumerate(self.code.plan.steps):
            if number in starts:
                lines.append(f"  {starts[number]}:")
            t = traffic(step, self.code.plan.buffers)
            if isinstance(step, HostCall):
                lines.append(f"  host {step.op}; {_bytes(t)}")
                continue
            if isinstance(step, NestKernel):
                lines.append(f"  {step.name}: {step.extent}, loop nest {step.nest.name}; {_bytes(t)}")
                continue
            name = f"{step.name}, {self._parts[step.name]}" if step.name in self._parts else step.name
            shape = " x ".join(str(n) for n in step.axes) or "scalar"
            lines.append(
                f"  {name}: {shape}, {step.tile}, {step.passes} pass{'es' if step.passes != 1 else ''}; "
                f"{_bytes(t)}"
            )
        lines += [f"from and to memory: {_bytes(self.moved)}", f"needed at least: {_bytes(self.ideal)}"]
        return self._shortened(lines)

    def _shortened(self, lines: list[str]) -> list[str]:
        """The lines with a name for each number of chunks that only a run knows, and what these are."""
        numbers: dict[str, str] = {}
        for kernel in self.code.plan.kernels:
            if not isinstance(count := chunks(kernel), int) and dims.lone(count) is None:
                numbers.setdefault(str(count), f"chunks({kernel.name})")
        for text in sorted(numbers, key=len, reverse=True):
            lines = [line.replace(text, numbers[text]) for line in lines]
        used = (f"{name} = {text}" for text, name in numbers.items() if any(name in line for line in lines))
        return [*lines, *used]

    def _seconds(self) -> list[str]:
        cached = " (object code from the cache)" if self.code.loaded is not None and self.code.loaded.from_cache else ""
        return [f"compiled in {1e3 * sum(self.code.seconds.values()):.1f} ms{cached}: "
                + ", ".join(f"{k} {1e3 * v:.1f}" for k, v in self.code.seconds.items())]  # fmt: skip


def explain(
    program: Program | CompiledProgram, fetch_list: Sequence[Tensor | str] = (), options: CompileOptions | None = None
) -> Explanation:
    """Compiles `program` for these fetches and says what happened.

    Args:
        program: the program, or a CompiledProgram; nothing is run.
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
    program, options = uncompiled(program, options, "explain")
    return Explanation(compile_graph(program.snapshot(fetches_of(fetch_list)), options))


def _bytes(t: Traffic) -> str:
    return f"reads {t.read} B, writes {t.written} B"
