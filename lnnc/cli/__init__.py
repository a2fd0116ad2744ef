"""The command line. Every import that costs time stays inside the command that needs it."""

from __future__ import annotations

import signal
import sys
import threading

import click

from lnnc._version import __version__
from lnnc.cli.data import data_group
from lnnc.cli.demo import demo, doctor
from lnnc.cli.model import compile_command, inspect, run, verify
from lnnc.cli.onnx import export_group
from lnnc.cli.package import package
from lnnc.cli.profile import profile
from lnnc.cli.reproduce import reproduce_group
from lnnc.cli.search import PARTS, pareto, pipeline, select
from lnnc.cli.simulate import simulate
from lnnc.cli.terminal import BAD_INPUT, INTERRUPTED, OK, complain
from lnnc.cli.train import train
from lnnc.cli.weights import import_group
from lnnc.errors import LnncError

# These start compilers and emulators, and work in temporary folders. (A training looks after itself and its workers.)
ON_MACHINES = ("compile", "verify", "simulate", "run", "inspect", "profile", "demo")


def end_by_signal() -> None:
    """Let a closed terminal or a kill unwind as Ctrl-C does: neither an emulator nor a folder may be left behind."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):  # there is no SIGHUP on Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, signal.default_int_handler)


def main() -> None:
    """Entry point: one place turns errors into exit codes."""
    try:
        code = cli.main(prog_name="lnnc", standalone_mode=False)
    except LnncError as error:
        complain(str(error))
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; nothing was left half-written")
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else OK)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lnnc")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compile a trained liquid neural network to fixed-point C that is bit-exact with a NumPy reference.

    \b
    lnnc demo                                        the bundled battery model, compiled and verified
    lnnc import ncps weights.pth --config cell.json  a state_dict (ncps, dlnet) or a step (onnx) becomes a checkpoint
    lnnc compile student.pt -o soh.c                 a checkpoint becomes soh.c and soh.h
    lnnc verify student.pt soh.c --on host,m4        every byte against the reference
    lnnc verify student.pt --on device               the same on a board, over its serial line
    lnnc simulate uno student.pt                     the same on a virtual board: uno, mega, cortex-m4
    lnnc run student.pt --data X.npz --engine m4 -o Y.npz
    lnnc inspect student.pt                          layers, ranges, scales, sizes
    lnnc profile student.pt                          cycles, time, energy, flash, RAM, stack on a Cortex-M4
    lnnc export onnx student.pt -o step.onnx         one step, for other tools
    lnnc data import cells/ --nominal 2.0 -o soh.h5  cycling files become a dataset; lnnc data where: published ones
    lnnc train soh.h5 -o student.npz                 a dataset becomes a student that forecasts, scored on unseen cells
    lnnc package student.npz --data soh.h5 -o s.pt   a student and all that surrounds it become a checkpoint
    lnnc pipeline soh.toml                           from files to a chosen, compiled, verified student, resumable
    lnnc distill soh.toml                            the same up to one of its stages
    lnnc prune soh.toml
    lnnc recover soh.toml
    lnnc qat soh.toml
    lnnc pareto soh.toml
    lnnc select soh/pareto/candidates.csv --max-flash 8k
    lnnc reproduce dlnet --data X.npz --segments S.json
    lnnc doctor                                      which tools are here, and how to get the others

    Exit codes: 0 ok, 1 verification failed, 2 bad input or usage.
    """
    if ctx.invoked_subcommand in ON_MACHINES:
        end_by_signal()


for _command in (
    compile_command,
    verify,
    simulate,
    run,
    inspect,
    profile,
    import_group,
    export_group,
    data_group,
    train,
    package,
    *PARTS,
    pareto,
    select,
    pipeline,
    reproduce_group,
    demo,
    doctor,
):
    cli.add_command(_command)
