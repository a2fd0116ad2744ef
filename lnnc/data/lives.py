"""Lives of cells: capacities become SOH, samples are mended, ends of life are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.data.dataset import Sequence
from lnnc.data.matr import NOMINAL
from lnnc.data.reading import SHOWN, ImportOptions
from lnnc.data.repair import repair
from lnnc.errors import Findings, LnncError

END_OF_LIFE = 0.8
SHORT = 200  # cycles: a window and a horizon of 100
PLAUSIBLE = (0.2, 2.0)  # the median SOH of any cells


def state_of_health(sequences: list[Sequence], in_ah: set[str], options: ImportOptions) -> list[Sequence]:
    """SOH = capacity / nominal capacity.

    Args:
        in_ah: names of those that are capacities; the others are SOH already.

    Raises:
        LnncError: the nominal capacity is not known, or cannot be that of these cells.
    """
    nominal = _nominal([s for s in sequences if s.name in in_ah], options)
    scaled = [replace(s, values=s.values / nominal) if s.name in in_ah else s for s in sequences]
    _check_level([s for s in scaled if s.name in in_ah], nominal)
    _check_level([s for s in scaled if s.name not in in_ah], None)
    return scaled


def _check_level(sequences: list[Sequence], nominal: float | None) -> None:
    """Refuse what is in another unit: nominal None stands for values that should be SOH already."""
    middle = _middle(sequences)
    if not sequences or PLAUSIBLE[0] <= middle <= PLAUSIBLE[1]:
        return
    found = f"the median of the values is {middle * (nominal or 1.0):.4g}"
    if nominal is None:
        hint = "in percent? then --nominal 100 without --already-soh; in Ah? then --nominal"
        raise LnncError(f"expected SOH, that is about 0.7 to 1.1; {found}", sequences[0].source, hint)
    hint = "give the --nominal capacity in the unit of the values (mAh: in mAh); a column that counts on over all " \
           "cycles is no capacity"  # fmt: skip
    raise LnncError(f"{found}, which does not fit a nominal capacity of {nominal:g}", sequences[0].source, hint)


def _middle(sequences: list[Sequence]) -> float:
    finite = [s.values[np.isfinite(s.values)] for s in sequences]
    joined = np.concatenate(finite) if finite else np.zeros(0)
    return float(np.median(joined)) if joined.size else 1.0


def _nominal(sequences: list[Sequence], options: ImportOptions) -> float:
    if options.nominal is not None or not sequences:
        return options.nominal or 1.0
    foreign = [s for s in sequences if not s.name.startswith(("MATR_", "synthetic_"))]
    if not foreign:
        return NOMINAL
    message = f"what is the nominal capacity of its cells? Values are about {_middle(foreign):.3g} Ah"
    hint = "--nominal, in Ah (MATR 1.1, XJTU 2.0, TJU 3.5); if they are SOH: --already-soh"
    raise LnncError(message, foreign[0].source, hint)


def mended(sequences: list[Sequence], options: ImportOptions, report: list[str]) -> list[Sequence]:
    """Repair every sequence, one line for every changed sample; without repair, refuse what is not finite."""
    kept = []
    found = Findings("import")
    for sequence in sequences:
        try:
            if options.repair:
                sequence = _mend(sequence, report)
            elif not np.isfinite(sequence.values).all():
                first = int(np.flatnonzero(~np.isfinite(sequence.values))[0])
                raise ValueError(f"cycle {first + 1} is NaN, which --no-repair leaves as it is")
            kept.append(sequence)
        except ValueError as error:
            fault = f"{sequence.source}: cell '{sequence.name}': {error}"
            report.append(f"{fault}: LEFT OUT (--skip-bad)") if options.skip_bad else found.add(fault)
    found.raise_if_any("mend the file, or leave such cells out with --skip-bad; nothing was written")
    if not kept:
        raise LnncError("no cell is left", "import", "; ".join(report[-3:]))
    return kept


def _mend(sequence: Sequence, report: list[str]) -> Sequence:
    mended, changes = repair(sequence.values[:, 0])
    report += [
        f"{sequence.name}: changed: cycle {index + 1}: SOH {old:.6g} -> {new:.6g} ({reason})"
        for index, old, new, reason in changes
    ]
    return replace(sequence, values=mended[:, None])


def end_of_life(sequence: Sequence) -> int | None:
    """The first cycle, counted from 1, whose SOH (column 0) is below 0.8; None if there is none."""
    below = np.flatnonzero(sequence.values[:, 0] < END_OF_LIFE)
    return int(below[0]) + 1 if len(below) else None


def about_lives(sequences: list[Sequence]) -> list[str]:
    """Lines for the report: how many cells reach their end of life, and which are short."""
    ends = [end for s in sequences if (end := end_of_life(s)) is not None]
    span = f", after {min(ends)} to {max(ends)} cycles" if ends else ""
    lines = [
        f"end of life (SOH below {END_OF_LIFE}) recomputed from the capacities: {len(ends)} of {len(sequences)} cells "
        f"reach it{span}"
    ]
    short = [f"{s.name} ({len(s.values)})" for s in sequences if len(s.values) < SHORT]
    if short:
        listed = ", ".join(short[:SHOWN]) + (" ..." if len(short) > SHOWN else "")
        lines.append(f"shorter than {SHORT} cycles, kept: {len(short)} of {len(sequences)} cells: {listed}")
    return lines
