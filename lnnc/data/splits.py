"""Splits by cell: k folds in which every cell is tested exactly once, stored as JSON beside the run.

Windows of one cell overlap, and 97 % of the paper's test targets lie in training windows of the same cell. A split by
window measures memory; here a cell is in the training or in the test set with all it has.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lnnc.errors import Findings, LnncError
from lnnc.files import write_atomically

FORMAT = "lnnc folds 1"


@dataclass(frozen=True)
class Folds:
    """k disjoint groups of cells. Fold i is tested by models that were fitted on all others.

    Args:
        groups: the names of each fold.
        seed: what shuffled them; None for groups that somebody wrote by hand.
    """

    groups: tuple[tuple[str, ...], ...]
    seed: int | None = None

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups for name in group)

    def test(self, fold: int) -> tuple[str, ...]:
        """Cells that are tested in this fold."""
        return self.groups[fold]

    def train(self, fold: int) -> tuple[str, ...]:
        """Cells that may be fitted on in this fold: scalers, weights, everything."""
        return tuple(name for i, group in enumerate(self.groups) if i != fold for name in group)

    def fold_of(self) -> dict[str, int]:
        """The one fold that tests each cell."""
        return {name: i for i, group in enumerate(self.groups) for name in group}


def folds(names: Iterable[str], k: int = 5, seed: int = 0) -> Folds:
    """Deal the cells to k folds of equal size (+-1), by the order of sha256("seed:name").

    The order of the names does not matter, nor does the version of a random generator.

    Raises:
        LnncError: k below 2, fewer cells than folds, a name twice.
    """
    listed = list(names)
    twice = sorted(name for name, count in Counter(listed).items() if count > 1)
    if twice:
        raise LnncError(f"cells with the same name: {', '.join(twice)}", "folds", "give every cell a name of its own")
    if k < 2:
        raise LnncError(f"expected 2 folds or more, found {k}", "folds", "5 is usual")
    if len(listed) < k:
        raise LnncError(f"{len(listed)} cells cannot fill {k} folds", "folds", "fewer folds, or more cells")
    order = sorted(listed, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest())
    return Folds(tuple(tuple(sorted(order[i::k])) for i in range(k)), seed)


def save_folds(split: Folds, path: str | Path) -> None:
    """Write the folds as JSON; the file appears whole or not at all.

    Raises:
        LnncError: the file cannot be written.
    """
    document = {"format": FORMAT, "seed": split.seed, "folds": split.groups}
    text = json.dumps(document, indent=1) + "\n"
    write_atomically(Path(path), lambda file: _write(file, text))


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


def load_folds(path: str | Path, names: Iterable[str]) -> Folds:
    """Read folds and check them against the cells of the data set: each in exactly one fold, and no other.

    Raises:
        LnncError: a file that cannot be read or is no such JSON; fewer than two folds, an empty fold, cells that are
            unknown, missing or listed twice (all reported together).
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LnncError(f"cannot read ({error.strerror})", str(path), "give a file written by save_folds") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise LnncError(f"not JSON ({error})", str(path), "give a file written by save_folds") from error
    split = _parsed(document, str(path))
    _check(split, set(names), str(path))
    return split


def _parsed(document: Any, where: str) -> Folds:
    found = Findings(where)
    groups = document.get("folds") if isinstance(document, dict) else None
    seed = document.get("seed") if isinstance(document, dict) else None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found.add(f'expected an object with "format": "{FORMAT}"')
    if not isinstance(groups, list) or not all(
        isinstance(g, list) and all(isinstance(n, str) for n in g) for g in groups
    ):
        found.add('"folds": expected a list of lists of names')
    if seed is not None and type(seed) is not int:
        found.add(f'"seed": expected an integer or null, found {seed!r}')
    found.raise_if_any('such as {"format": "' + FORMAT + '", "seed": null, "folds": [["a", "b"], ["c", "d"]]}')
    assert isinstance(groups, list)
    return Folds(tuple(map(tuple, groups)), seed)


def _check(split: Folds, names: set[str], where: str) -> None:
    found = Findings(where)
    if len(split) < 2:
        found.add(f"expected 2 folds or more, found {len(split)}")
    for i, group in enumerate(split.groups):
        if not group:
            found.add(f"fold {i} is empty")
    for name, count in Counter(split.names).items():
        if count > 1:
            found.add(f"'{name}' is listed {count} times")
    for name in sorted(set(split.names) - names):
        found.add(f"'{name}' is no cell of this data set")
    for name in sorted(names - set(split.names)):
        found.add(f"'{name}' is in no fold")
    found.raise_if_any("make new folds for this data set, or mend the file")
