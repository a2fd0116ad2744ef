"""The machines that code is generated for: compiler flags, clock, memory, supply, and what is known of their speed.

A number stands here with its source, or it does not stand here: a target without a cycle model says why.
"""

from __future__ import annotations

from dataclasses import dataclass

from lnnc.errors import LnncError


@dataclass(frozen=True)
class Board:
    """A chip that can be bought, as far as time and energy of an inference depend on it.

    Attributes:
        name: the chip and a board that carries it.
        clock_mhz: frequency of the core.
        flash_wait: cycles that a data load from flash takes longer than one from RAM.
        error: half-width of the error band of modelled cycles, as a fraction.
        current_ma, volts: supply while the core runs code; the chip alone, typical, not guaranteed.
        source: where these numbers stand.
    """

    name: str
    clock_mhz: float
    flash_wait: int
    error: float
    current_ma: float
    volts: float
    source: str

    def ms(self, cycles: float) -> float:
        """Milliseconds of so many cycles."""
        return cycles / self.clock_mhz / 1e3

    def energy_uj(self, cycles: float) -> float:
        """Microjoules of so many cycles: time x current x voltage."""
        return self.ms(cycles) * self.current_ma * self.volts


@dataclass(frozen=True)
class Target:
    """A processor that `--target` names.

    Attributes:
        cflags: what arm-none-eabi-gcc needs to compile for it; () where that is another compiler.
        board: a chip with this core, for time and energy.
        error: half-width of the error band of modelled cycles at zero wait states, as a fraction.
        unmodelled: why there is no cycle model, "" where there is one.
        dsp: it has the DSP instructions: code for it carries their paths beside plain C, and packed weights.
    """

    name: str
    cflags: tuple[str, ...] = ()
    board: Board | None = None
    error: float = 0.0
    unmodelled: str = ""
    dsp: bool = False


# Clock, current: nRF52840 Product Specification, "CPU running": CoreMark from flash, HFXO, DC/DC, 3.0 V: 3.3 mA
# (52 uA/MHz). Sensors, LEDs and regulators of the Arduino board come on top.
# flash_wait: fitted to two published cycle counts of int8 networks on this chip (they differ from the model by 0.5 and
# 3.9 %: benchmarks/calibration.py); a larger program was 10 to 16 % above the model: its code waits for flash too.
NRF52840 = Board(
    "nRF52840 (Arduino Nano 33 BLE Sense)", clock_mhz=64.0, flash_wait=3, error=0.15, current_ma=3.3, volts=3.0,
    source="nRF52840 Product Specification: CPU running CoreMark from flash, HFXO, DC/DC, 3 V",
)  # fmt: skip

# softfp is what the Arduino Nano 33 BLE core uses. error: nine AES routines measured on a Cortex-M4 board came within
# -3.6 ... +0.4 % of the model.
TARGETS = {
    target.name: target
    for target in (
        Target(
            "cortex-m4", ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16"), NRF52840, 0.05,
            dsp=True,
        ),
        Target(
            "cortex-m0", ("-mcpu=cortex-m0", "-mthumb"),
            unmodelled="its multiplier takes 1 or 32 cycles, as the maker of the chip chose, and nothing here was "
            "checked against a board",
        ),
        Target(
            "cortex-m7", ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=softfp", "-mfpu=fpv5-d16"),
            unmodelled="it issues two instructions at once and has caches: counting instructions tells little",
            dsp=True,
        ),
        Target("avr", unmodelled="nothing here compiles and counts for it yet"),
        Target("generic", unmodelled="no processor in particular"),
    )
}  # fmt: skip


WEIGHTS = ("flash", "ram")
PACKINGS = ("auto", "rows", "blocks")
FOLDERS = ("arduino", "platformio", "cmake", "zephyr")
PAIR = "pair"
LAYOUTS = (PAIR, *FOLDERS)  # how the generated files lie: the pair alone, or a folder for a build system


@dataclass(frozen=True)
class Build:
    """What the user may decide about the generated C without changing a bit of what it computes.

    Attributes:
        target: a name of `TARGETS`: which code paths are printed, and whose costs are told.
        weights: "flash", or "ram": tables that the start-up code copies, where loads from flash take long.
        packing: dense weights row by row ("rows"), in blocks of four rows ("blocks"), or whichever pays ("auto").

    Raises:
        LnncError: another word.
    """

    target: str = "cortex-m4"
    weights: str = "flash"
    packing: str = "auto"

    def __post_init__(self) -> None:
        for name, known in (("target", tuple(TARGETS)), ("weights", WEIGHTS), ("packing", PACKINGS)):
            if getattr(self, name) not in known:
                raise LnncError(f"expected {', '.join(known)}, found {getattr(self, name)!r}", f"--{name}")

    @property
    def processor(self) -> Target:
        return TARGETS[self.target]
