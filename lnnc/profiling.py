"""`lnnc profile`: what a compiled model costs on a target, layer by layer, and whether it keeps to a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lnnc.errors import Findings, LnncError
from lnnc.ir.program import Call, Program
from lnnc.pipeline import Compiled, summary
from lnnc.quantize.calibrate import shaped
from lnnc.report.profile import LayerCost, Profile, band
from lnnc.report.size import measure
from lnnc.targets import Target
from lnnc.verify.cycles import Cost, StepCost, measure_step, require_cycle_tools
from lnnc.verify.tools import version_of

COMPILER = "arm-none-eabi-gcc"
OPTIMISATIONS = ("-Os", "-O2", "-O3")


@dataclass(frozen=True)
class Budgets:
    """The most that a model may take: bytes of flash, bytes of RAM without stack, cycles without wait states."""

    flash: int | None = None
    ram: int | None = None
    cycles: int | None = None

    def __bool__(self) -> bool:
        return (self.flash, self.ram, self.cycles) != (None, None, None)


def profile_model(compiled: Compiled, opt: str = "-Os", cycles: bool = True, flags: Sequence[str] = ()) -> Profile:
    """Cross-compile a model for its target, measure its sizes, count what a step executes.

    Args:
        cycles: whether the step is to be run; without it only sizes are measured.
        flags: further options of the C compiler, such as -DLNN_PATH=1 for another code path.

    Raises:
        LnncError: the target has no C compiler here, a tool is missing, or the code does not run.
    """
    target = compiled.build.processor
    if not target.cflags:
        raise LnncError(f"cannot profile for {target.name}: {target.unmodelled}", "--target", "--target cortex-m4")
    modelled = cycles and not target.unmodelled
    if modelled:
        require_cycle_tools()
    files, program = compiled.files, compiled.program
    size = measure(files.source, files.header, compiled.name, (*target.cflags, opt, *flags, "-ffreestanding"))
    step = _step(compiled, target, opt, flags) if modelled else None
    own, shared = layer_tables(program)
    return Profile(
        model=f"{compiled.name}: {summary(compiled.checkpoint)}; activations {compiled.options.activations}",
        target=target, compiler=" ".join((COMPILER, str(version_of(COMPILER)), opt, *flags)), size=size,
        shared_flash=shared,
        layers=tuple(
            _layer(program, src, step, own, compiled.build.weights == "ram")
            for src in dict.fromkeys(call.src for call in program.calls())
        ),
        step=step,
    )  # fmt: skip


def _step(compiled: Compiled, target: Target, opt: str, flags: Sequence[str]) -> StepCost:
    data = compiled.checkpoint.calibration
    known = None if data is None else shaped(compiled.checkpoint, data)
    files = compiled.files.source, compiled.files.header
    return measure_step(compiled.program, files, compiled.name, target, opt, known, flags)


def _layer(program: Program, src: str, step: StepCost | None, own: dict[str, int], in_ram: bool) -> LayerCost:
    calls = [(index, call) for index, call in enumerate(program.calls()) if call.src == src]
    cost = sum((step.calls.get(index, Cost()) for index, _ in calls), Cost()) if step else None
    tables = own.get(src, 0)
    ram = max(working_ram(program, call) for _, call in calls) + (tables if in_ram else 0)
    return LayerCost(src, tuple(call.kernel for _, call in calls), cost, tables, ram)


def layer_tables(program: Program) -> tuple[dict[str, int], int]:
    """Bytes of the tables that one layer alone uses, by layer; bytes of those that several share."""
    sizes = {constant.name: constant.bytes for constant in program.constants}
    users: dict[str, set[str]] = {name: set() for name in sizes}
    for call in program.calls():
        for _, arg in call.args:
            if isinstance(arg, str) and arg in users:
                users[arg].add(call.src)
    own: Counter[str] = Counter()
    for name, layers in users.items():
        if len(layers) == 1:
            own[next(iter(layers))] += sizes[name]
    return dict(own), sum(sizes.values()) - sum(own.values())


def working_ram(program: Program, call: Call) -> int:
    """Bytes of state and scratch that a call reads and writes."""
    buffers = {b.name: b.bytes for b in program.buffers if b.kind in ("state", "scratch")}
    return sum(buffers[arg] for arg in {arg for _, arg in call.args if isinstance(arg, str) and arg in buffers})


def check_budgets(compiled: Compiled, budgets: Budgets, opt: str) -> Profile | None:
    """Refuse a model that takes more than its budgets; the error names the layer to shrink, and by how much.

    Returns:
        The profile, or None where there is no budget.

    Raises:
        LnncError: over a budget, or it cannot be told (a missing tool, a target without a cycle model).
    """
    if not budgets:
        return None
    target = compiled.build.processor
    if budgets.cycles is not None and target.unmodelled:
        raise LnncError(f"no cycle model for {target.name}: {target.unmodelled}", "--max-cycles", "--target cortex-m4")
    profile = profile_model(compiled, opt, cycles=budgets.cycles is not None)
    findings = Findings(f"{compiled.name} on {target.name} {opt} is over budget")
    for text in (_over_flash(profile, budgets), _over_ram(profile, budgets), _over_cycles(profile, budgets)):
        if text:
            findings.add(text)
    findings.raise_if_any("shrink the layer that is named, or raise the budget")
    return profile


def _over_flash(profile: Profile, budgets: Budgets) -> str:
    found, limit = profile.size.flash, budgets.flash
    return "" if limit is None else _over("--max-flash", found, limit, "bytes", profile, lambda layer: layer.flash)


def _over_ram(profile: Profile, budgets: Budgets) -> str:
    found, limit = profile.size.ram, budgets.ram
    if limit is None:
        return ""
    text = _over("--max-ram", found, limit, "bytes", profile, lambda layer: layer.ram)
    tables = f", the tables {profile.size.data:,}: --weights flash leaves those out" if profile.size.data else ""
    return text and f"{text} (the ports take {profile.size.ports:,}{tables})"


def _over_cycles(profile: Profile, budgets: Budgets) -> str:
    if budgets.cycles is None or profile.step is None:
        return ""
    found = profile.step.total.cycles
    text = _over(
        "--max-cycles", found, budgets.cycles, "cycles", profile, lambda layer: layer.cost.cycles if layer.cost else 0
    )
    return text and f"{text} (cycles are estimates, {band(profile.target.error)})"


def _over(
    option: str, found: int, limit: int, unit: str, profile: Profile, share: Callable[[LayerCost], int]
) -> str:  # fmt: skip
    """What is wrong, or ""; the layer with the largest share has to shrink."""
    excess = found - limit
    if excess <= 0:
        return ""
    layer = max(profile.layers, key=share)
    part = share(layer)
    enough = "" if part > excess else ", which alone is not enough"
    return (
        f"{option}: {found:,} {unit}, {excess:,} more than {limit:,}; the largest layer is '{layer.name}' "
        f"with {part:,} {unit}: shrink it by {excess:,}{enough}"
    )
