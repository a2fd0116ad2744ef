"""Records the demo of index.html: an invented cell's life, told by the monitor's own C.

    python examples/monitor/record.py examples/monitor/index.html

writes the lines into the page, between the tags of its element `recording`. The cell comes from the generator that
`lnnc data synth` uses; no number in it is a measurement.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from lnnc.data.synthetic import synthetic_cells
from lnnc.output import write_pair
from lnnc.pipeline import compile_model
from lnnc.resources import example_path

SKETCH = Path(__file__).resolve().parent / "SohMonitor"
BATCH, INDEX = 2, 16
PLACE = re.compile(r'(<script type="text/plain" id="recording">\n).*?(</script>)', re.DOTALL)


def build(folder: Path) -> Path:
    """Compile the bundled model and host.c; return the program."""
    write_pair(compile_model(example_path("soh/student.pt"), "soh").files, folder / "soh.c")
    sources = [SKETCH.parent / "host.c", *sorted(SKETCH.glob("*.c")), folder / "soh.c"]
    command = ["cc", "-std=c99", "-O1", "-I", SKETCH, "-I", folder, *sources, "-o", folder / "monitor"]
    subprocess.run([str(part) for part in command], check=True)
    return folder / "monitor"


def commands() -> str:
    """What is sent: the cell's capacities as a tester would print them, cycle 1 first."""
    capacity = synthetic_cells(BATCH)[INDEX].capacity
    assert capacity is not None
    return "".join(f"cap {cycle} {value:.4f}\n" for cycle, value in enumerate(capacity, 1))


def record() -> str:
    """The lines that the monitor answers."""
    with tempfile.TemporaryDirectory() as name:
        program = build(Path(name))
        return subprocess.run([str(program)], input=commands(), capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Write the recording into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page
    text = page.read_text(encoding="utf-8")
    lines = record()
    page.write_text(PLACE.sub(lambda found: found[1] + lines + found[2], text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
