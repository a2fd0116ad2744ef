"""Graph rewrites that keep the float meaning and make the integer program smaller or more exact."""

from __future__ import annotations

from lnnc.ir.graph import Graph
from lnnc.ir.verify import verify_graph
from lnnc.passes.drop_unused import drop_unused
from lnnc.passes.fold_norm_gain import fold_norm_gain
from lnnc.passes.fold_scales import fold_input_scale, fold_output_scale
from lnnc.passes.merge_recurrence import merge_recurrence

PIPELINE = (fold_input_scale, fold_output_scale, merge_recurrence, fold_norm_gain, drop_unused)


def run_passes(graph: Graph) -> Graph:
    """Every pass in order, the invariants checked after each."""
    for rewrite in PIPELINE:
        graph = verify_graph(rewrite(graph))
    return graph
