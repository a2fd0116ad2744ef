"""What the authors of the MATR data join and leave out: 46 + 48 + 46 cells become 41 + 43 + 40.

Source: the loading scripts published with Severson et al., Nature Energy 4 (2019) 383.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from lnnc.data.dataset import Sequence
from lnnc.data.reading import ImportOptions

CONTINUED = {(2, 7): (1, 0), (2, 8): (1, 1), (2, 9): (1, 2), (2, 15): (1, 3), (2, 16): (1, 4)}
UNFINISHED = {(1, 8), (1, 10), (1, 12), (1, 13), (1, 22)}
NOISY = {(3, 37), (3, 2), (3, 23), (3, 32), (3, 42), (3, 43)}
READ = {1: 46, 2: 48, 3: 46}
KEPT = {1: 41, 2: 43, 3: 40}
Id = tuple[int, int]


def cell_id(name: str) -> Id | None:
    """(batch, index) of MATR_b1c0 (BatteryML's name) or synthetic_b1c0; None of any other name."""
    found = re.fullmatch(r"(?:MATR|synthetic)_b(\d)c(\d+)", name)
    return (int(found[1]), int(found[2])) if found else None


def apply_rules(sequences: Iterable[Sequence], options: ImportOptions) -> tuple[list[Sequence], list[str]]:
    """Join and leave out MATR cells; other sequences pass unchanged.

    Returns:
        sequences, and a line for everything that was done.
    """
    kept = list(sequences)
    known = [s.name for s in kept if cell_id(s.name)]
    if not known:
        return kept, []
    origin = known[0].partition("_")[0]
    report = [_count_line(f"{origin}: read", _per_batch(kept), READ)]
    if options.join:
        kept = _join(kept, report)
    kept = [s for s in kept if not _left_out(s, options, report)]
    if options.join and not options.keep_noisy and not options.keep_unfinished:
        report.append(_count_line(f"{origin}: kept", _per_batch(s for s in kept if len(s.values)), KEPT))
    return kept, report


def _per_batch(sequences: Iterable[Sequence]) -> dict[int, int]:
    ids = [cell_id(s.name) for s in sequences]
    return {batch: sum(cell is not None and cell[0] == batch for cell in ids) for batch in READ}


def _count_line(what: str, got: dict[int, int], known: dict[int, int]) -> str:
    """The counts of the batches that are there, beside those of the data's authors."""
    here = [batch for batch in known if got[batch]]
    sums = [" + ".join(str(table[batch]) for batch in here) for table in (got, known)]
    totals = [f" = {sum(table[b] for b in here)}" if len(here) > 1 else "" for table in (got, known)]
    fits = all(got[batch] == known[batch] for batch in here)
    verdict = "as the data's authors count" if fits else f"NOT the {sums[1]}{totals[1]} of the data's authors"
    named = f"batch {', '.join(map(str, here))}" if here else "no cell of batches 1, 2, 3"
    return f"{what} {sums[0]}{totals[0]} cells of {named}" + (f", {verdict}" if here else "")


def _join(sequences: list[Sequence], report: list[str]) -> list[Sequence]:
    """Append what batch 2 continues to its beginning in batch 1; without the beginning, leave it out."""
    by_id = {cell_id(s.name): s for s in sequences}
    joined = dict(by_id)
    for late, early in CONTINUED.items():
        tail, head = by_id.get(late), by_id.get(early)
        if tail is not None and head is not None:
            values = np.concatenate([head.values, tail.values])
            joined[early] = Sequence(head.name, values, f"{head.source}, {tail.source}")
            report.append(f"{tail.name}: joined to {head.name}: {len(head.values)} + {len(tail.values)} cycles")
        elif tail is not None:
            report.append(f"{tail.name}: dropped: it continues b1c{early[1]} of batch 1, which was not given")
        elif head is not None:
            report.append(f"{head.name}: incomplete: it goes on as b2c{late[1]} of batch 2, which was not given")
    return [joined.get(cell_id(s.name), s) if cell_id(s.name) else s
            for s in sequences if cell_id(s.name) not in CONTINUED]  # fmt: skip


def _left_out(sequence: Sequence, options: ImportOptions, report: list[str]) -> bool:
    """Whether the data's authors leave this cell out, and the options do not keep it."""
    cell = cell_id(sequence.name)
    if cell in NOISY and not options.keep_noisy:
        report.append(f"{sequence.name}: dropped: noisy, as its authors judge (--keep-noisy keeps it)")
    elif cell in UNFINISHED and not options.keep_unfinished:
        report.append(f"{sequence.name}: dropped: its test ended above 80 % (--keep-unfinished keeps it)")
    else:
        return False
    return True
