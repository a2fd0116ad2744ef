"""Seeded faults of forecasts: one wrong place in C each, and which net must find it.

Modes are the models of `FORECASTS`: a streaming student behind its trust gate, and one that takes whole windows.
"""

from __future__ import annotations

from faults import Fault, exactly

FORECASTS = {"forecast": ("gated", "stream", True), "whole": ("gated", "window", False)}  # of `random_student`
STREAM, WHOLE, EITHER = ("forecast",), ("whole",), ("forecast", "whole")

SERIES_FAULTS = (
    # blocks
    Fault(
        "block begins late", exactly("missing[0] * n : length"), "missing[0] * n : length - n", ("collect_s16",), STREAM
    ),
    Fault(
        "block counts one too few",
        exactly("missing[0] = left / n - 1;"),
        "missing[0] = left / n;",
        ("collect_s16",),
        STREAM,
    ),
    # robust means
    Fault(
        "median of the upper middle",
        exactly("middle = (n - 1) >> 1"),
        "middle = n >> 1",
        ("robust_s16",),
        EITHER,
        "means",
    ),
    Fault(
        "what is above the median stays",
        exactly("value >= v[middle]"),
        "value <= v[middle]",
        ("robust_s16",),
        EITHER,
        "means",
    ),
    Fault("network lacks a comparison", exactly("lnn_order(&b, &d);"), "", ("spread_s16",), EITHER, ""),
    Fault(
        "spread is the farthest near one",
        exactly("spread < c - a ? spread : c - a"),
        "spread",
        ("spread_s16",),
        STREAM,
        "spread",
    ),
    Fault("spread of blocks of another length", exactly("x[i] < m ? m - x[i] : x[i] - m"), "x[i] - m", ("spread_s16",)),
    Fault("clip on one side", exactly("middle[b] + reach;"), "32767;", ("robust_s16",), EITHER, "means"),
    Fault("mean saturates at 32,767", exactly("lnn_clamp(sum, -32640, 32640)"), "sum", ("robust_s16",)),
    # what is remembered
    Fault(
        "history moves by one",
        exactly("past[i] = past[i + n];"),
        "past[i] = past[i + 1];",
        ("history_s16",),
        STREAM,
        "",
    ),
    Fault("history is filled at every step", exactly("seen[0] = 1;"), "", ("history_s16",), STREAM),
    Fault(
        "history begins empty", exactly("if (seen[0] == 0)"), "if (seen[0] > 1)", ("history_s16",), STREAM, "spreads"
    ),
    Fault("count has no end", exactly("next < limit ? next : limit"), "next", ("count_s16",)),
    # the cell
    Fault(
        "pairs read in a row", exactly("LNN_S16(w + 2) * z[0]"), "LNN_S16(w + 1) * z[0]", ("gated_s16",), EITHER, "cell"
    ),
    Fault(
        "gate does not round",
        exactly("(32769 + lnn_tanh_q15(g, table)) >> 1"),
        "(32768 + lnn_tanh_q15(g, table)) >> 1",
        ("gated_s16",),
        EITHER,
        "cell",
    ),
    Fault(
        "state is not held back",
        exactly("lnn_tanh_q15(c, table) - z[i]"),
        "lnn_tanh_q15(c, table)",
        ("gated_s16",),
        EITHER,
        "cell",
    ),
    Fault("padding is not cleared", exactly("z[i] = 0;"), "z[i] = 1;", ("gated_s16",)),
    Fault("a row of inputs for all steps", exactly("z[i] = *x++;"), "z[i] = x[i - n];", ("gated_s16",), WHOLE, "cell"),
    Fault("rest is not rest", exactly("out[i] = 0;"), "out[i] = 1;", ("zero_s16",), WHOLE, "cell"),
    Fault(
        "place before the series",
        exactly("from + c > 0 ? from + c : 0"),
        "from + c > 0 ? from + c : 1",
        ("slide_s16",),
        WHOLE,
        "features",
    ),
    Fault(
        "places lie side by side",
        exactly("count--, from += hop, out += n_out"),
        "count--, from += 1, out += n_out",
        ("slide_s16",),
        WHOLE,
        "features",
    ),
    # the gate: its trace shows the forecasts that it remembers, so what else is wrong shows where the blend is read
    Fault(
        "error of the newest forecast left out",
        exactly("for (j = 0; j < count[0];"),
        "for (j = 1; j < count[0];",
        ("trust_s16",),
        STREAM,
        "forecast",
    ),
    Fault(
        "slope of the anchor forgotten",
        exactly("- (int32_t)row[1] * LNN_S16(middle + j)"),
        "",
        ("trust_s16",),
        STREAM,
        "forecast",
    ),
    Fault(
        "parabola judged by the line",
        exactly("row[9] * b1 - row[10] * b2"),
        "row[9] * b1",
        ("trust_s16",),
        STREAM,
        "forecast",
    ),
    Fault(
        "scores do not fade", exactly("scores[i] - lnn_requant(scores[i], loss)"), "scores[i]", ("trust_s16",), STREAM
    ),
    Fault("ratio has no end", exactly("0, most * unit"), "0, 500000", ("trust_s16",)),
    Fault(
        "prior with the wrong sign",
        exactly("rate) - LNN_S32(prior + i)"),
        "rate) + LNN_S32(prior + i)",
        ("trust_s16",),
        STREAM,
    ),
    Fault("blend leaves the parabola out", exactly("weights[3] * rivals[2 + k]"), "0", ("trust_s16",), STREAM),
    Fault(
        "eleventh forecast overwrites the tenth",
        exactly("for (i = 109; i >= 11; i--)"),
        "for (i = 109; i >= 22; i--)",
        ("trust_s16",),
        STREAM,
        "trust",
    ),
    # the forecast
    Fault(
        "anchor not shifted", exactly("anchor[0] * ((int32_t)1 << up)"), "anchor[0]", ("cubic_s16",), EITHER, "forecast"
    ),
    Fault(
        "places one step late",
        exactly("uint32_t place = (uint32_t)start;"),
        "uint32_t place = (uint32_t)(start + step / 4);",
        ("cubic_s16",),
        EITHER,
        "forecast",
    ),
)
