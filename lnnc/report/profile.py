"""What a model costs on a target, as data, as text with bars, and as JSON.

Cycles are modelled (`lnnc.verify.cycle_rules`), so every figure that is made of them carries its error band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lnnc.report.render import columns
from lnnc.report.size import Measured
from lnnc.targets import Board, Target
from lnnc.verify.cycles import Cost, StepCost

GLUE = "(glue)"
BAR = 24  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class LayerCost:
    """What a layer of the checkpoint costs.

    Attributes:
        name: as the checkpoint calls it, or GLUE.
        kernels: that its calls run, in order.
        cost: None where the target has no cycle model.
        flash: bytes of tables that no other layer uses.
        ram: bytes of the buffers that the largest of its calls works on, and of its tables where they are in RAM.
    """

    name: str
    kernels: tuple[str, ...]
    cost: Cost | None
    flash: int
    ram: int


@dataclass(frozen=True)
class Profile:
    """What a model costs on a target.

    Attributes:
        model: the network in one line.
        compiler: name, version and optimisation.
        shared_flash: bytes of tables that several layers use.
        step: None where the target has no cycle model.
    """

    model: str
    target: Target
    compiler: str
    size: Measured
    layers: tuple[LayerCost, ...]
    shared_flash: int
    step: StepCost | None

    @property
    def stack(self) -> int:
        """The deepest path through the calls, or what a run used should that be more."""
        return max(self.size.stack, self.step.stack if self.step else 0)


def band(error: float) -> str:
    """An error band for people."""
    return f"+-{error:.0%}".replace("%", " %")


def profile_text(profile: Profile, plain: bool = False) -> str:
    """Table of layers with bars, and totals. plain: bars of ASCII characters."""
    lines = [profile.model, f"{profile.target.name}, {profile.compiler}"]
    if profile.step and profile.target.board:
        lines += [_basis(profile.step, profile.target, profile.target.board), ""]
        lines += [_layers_text(profile, profile.step, profile.target.board, plain), ""]
        lines += _time_lines(profile.step, profile.target, profile.target.board)
    else:
        lines += [f"cycles, time and energy: not modelled: {profile.target.unmodelled}", ""]
    size = profile.size
    in_ram = f", tables {size.data:,}" if size.data else ""
    lines += [
        f"flash   {size.flash:,} bytes (.text {size.text:,}, .rodata {size.rodata:,}, .data {size.data:,})",
        f"RAM     {size.ram:,} bytes (state {size.state:,}, scratch {size.scratch:,}, ports {size.ports:,}{in_ram})",
        f"stack   {profile.stack:,} bytes at worst" + (f", {profile.step.stack:,} seen" if profile.step else ""),
    ]
    if size.external:
        lines.append(f"        not in flash: {', '.join(size.external)} of the compiler's library")
    return "\n".join(lines)


def _basis(step: StepCost, target: Target, board: Board) -> str:
    """What the cycle figures are."""
    return (
        f"Cycles are estimates of a model, not measured: {band(target.error)} without wait states, {band(board.error)} "
        f"on the\n{board.name}, +{board.flash_wait} a load from flash.\n"
        f"The worst of {step.steps} steps: {step.inputs}."
        + (f"\nA step that only takes a sample: {step.between.cycles:,} cycles." if step.between.cycles else "")
    )


def _layers_text(profile: Profile, step: StepCost, board: Board, plain: bool) -> str:
    rows = [*profile.layers, LayerCost(GLUE, (), step.glue, 0, 0)]
    most = max(layer.cost.cycles for layer in rows if layer.cost)
    cells = [_row(layer, layer.cost, step, board, most, plain) for layer in rows if layer.cost]
    total = step.total
    cells.append(
        ("total", "", f"{total.instructions:,}", f"{total.cycles:,}", f"{total.waiting(board.flash_wait):,}",
         "100 %", f"{profile.size.rodata:,}", "")
    )  # fmt: skip
    chip = board.name.partition(" ")[0]
    header = (
        "layer", "kernels", "instructions", f"cycles {band(profile.target.error)}", f"{chip} {band(board.error)}",
        "share", "tables B", "",
    )  # fmt: skip
    return columns(header, cells)


def _row(layer: LayerCost, cost: Cost, step: StepCost, board: Board, most: int, plain: bool) -> tuple[str, ...]:
    kernels = " ".join(dict.fromkeys(layer.kernels))
    share = f"{cost.cycles / step.total.cycles:.0%}".replace("%", " %")
    waiting = f"{cost.waiting(board.flash_wait):,}"
    flash = f"{layer.flash:,}" if layer.name != GLUE else ""
    bar = bar_of(cost.cycles / most, plain)
    return (layer.name, kernels, f"{cost.instructions:,}", f"{cost.cycles:,}", waiting, share, flash, bar)


def bar_of(part: float, plain: bool) -> str:
    """A bar for 0 <= part <= 1, in eighths of a character, or in whole characters #."""
    if plain:
        return "#" * round(part * BAR)
    full, eighth = divmod(round(part * BAR * 8), 8)
    return (EIGHTHS[8] * full + EIGHTHS[eighth]).rstrip()


def _time_lines(step: StepCost, target: Target, board: Board) -> list[str]:
    """Time and energy of a step, without and with the waits for flash."""
    lines = []
    for label, made, unit in (("time", board.ms, "ms"), ("energy", board.energy_uj, "uJ")):
        fast, slow = made(step.total.cycles), made(step.total.waiting(board.flash_wait))
        how = f"{board.clock_mhz:g} MHz" if label == "time" else f"{board.current_ma:g} mA, {board.volts:g} V"
        lines.append(
            f"{label:8}{fast:.4g} {unit} ({band(target.error)}) without wait states, {slow:.4g} {unit} "
            f"({band(board.error)}) with them; {how}"
        )
    return [*lines, f"        of the chip alone: {board.source}"]


def profile_json(profile: Profile) -> dict[str, Any]:
    """As JSON types. The cycles, ms and energy_uj at the top are without wait states; `board` has them with."""
    step, target, size = profile.step, profile.target, profile.size
    table: dict[str, Any] = {
        "model": profile.model, "target": target.name, "compiler": profile.compiler,
        "cycles": None, "instructions": None, "ms": None, "energy_uj": None,
        "flash": size.flash, "ram": size.ram, "stack": profile.stack,
        "text": size.text, "rodata": size.rodata, "data": size.data, "bss": size.bss,
        "state": size.state, "scratch": size.scratch, "ports": size.ports, "shared_tables": profile.shared_flash,
        "external": list(size.external),
    }  # fmt: skip
    if step and target.board:
        table |= {
            "estimate": True, "error": target.error, "steps": step.steps, "inputs": step.inputs,
            "between_cycles": step.between.cycles, "stack_seen": step.stack, "instructions": step.total.instructions,
            **_times(step.total.cycles, target.board),
            "board": {
                "name": target.board.name, "clock_mhz": target.board.clock_mhz, "error": target.board.error,
                "flash_wait": target.board.flash_wait, "current_ma": target.board.current_ma,
                "volts": target.board.volts, "source": target.board.source,
                **_times(step.total.waiting(target.board.flash_wait), target.board),
            },
        }  # fmt: skip
    else:
        table["not_modelled"] = target.unmodelled
    table["layers"] = [_layer_json(layer, target.board) for layer in profile.layers]
    if step:
        table["layers"].append(_layer_json(LayerCost(GLUE, (), step.glue, 0, 0), target.board))
    return table


def _times(cycles: int, board: Board) -> dict[str, Any]:
    return {"cycles": cycles, "ms": board.ms(cycles), "energy_uj": board.energy_uj(cycles)}


def _layer_json(layer: LayerCost, board: Board | None) -> dict[str, Any]:
    cost = layer.cost
    return {
        "layer": layer.name, "kernels": list(layer.kernels),
        "cycles": cost.cycles if cost else None, "instructions": cost.instructions if cost else None,
        "board_cycles": cost.waiting(board.flash_wait) if cost and board else None,
        "tables": layer.flash, "working_ram": layer.ram,
    }  # fmt: skip
