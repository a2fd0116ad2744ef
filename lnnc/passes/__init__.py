"""Graph rewrites that keep the float meaning and make the integer program smaller or more exact."""

from __future__ import annotations

from lnnc.ir.graph import Graph
from lnnc.ir.verify import verify_graph
from lnnc.passes.drop_unused import drop_unused
from lnnc.passes.fold_norm_gain import fold_norm_gain
from lnnc.passes.fold_scales import fold_input_scale, fold_output_scale
from lnnc.passes.fold_time import fold_time
from lnnc.passes.merge_recurrence import merge_recurrence

PIPELINE = (fold_input_scale, fold_output_scale, merge_recurrence, fold_norm_gain, drop_unused)


def run_passes(graph: Graph, constant_time: bool = True) -> Graph:
    """Every pass in order, the invariants checked after each.

    Args:
        constant_time: False where the time between two samples is an argument of the step.
    """
    for rewrite in (fold_time, *PIPELINE) if constant_time else PIPELINE:
        graph = verify_graph(rewrite(graph))
    return graph
