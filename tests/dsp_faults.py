"""Seeded faults of the packed layers and of the code paths of a Cortex-M4: one wrong place each."""

from __future__ import annotations

from dataclasses import dataclass

from faults import Fault, exactly


@dataclass(frozen=True)
class PathFault(Fault):
    """A fault that one code path has.

    Attributes:
        path: LNN_PATH: 0 plain C, 1 intrinsics, 2 assembly.
    """

    path: int = 1


PACKED = ("packed_s16", "packed_s32")
ANY = ("packed_s16",)
ROWS = ("linear_s16", "linear_s32")


def fault(name: str, path: int, old: str, new: str, kernels: tuple[str, ...]) -> PathFault:
    return PathFault(name, exactly(old), new, kernels, path=path)


DSP_FAULTS = (
    # the identity, in plain C and by intrinsics
    fault("a weight beside its own", 0, "x[2] + LNN_S8(weight + 1)", "x[2] + LNN_S8(weight + 2)", PACKED),
    fault(
        "cross product not taken away", 0,
        "(uint32_t)LNN_S32(bias + 3) - cross",
        "(uint32_t)LNN_S32(bias + 3)", PACKED,
    ),
    fault("cross product stops a group early", 0, "} while (x != end);", "} while (x + 4 < end);", PACKED),
    fault(
        "a column left over lost", 0,
        "for (; x != end; x++, weight += 4)",
        "for (; x < end - 1; x++, weight += 4)", PACKED,
    ),
    fault("bytes 1 and 3 turned to far", 1, "%2, ror #8", "%2, ror #24", PACKED),
    fault("two rows share weights", 1, "lnn_pair_s8(x2, w2)", "lnn_pair_s8(x2, w1)", PACKED),
    fault(
        "a group of sixteen columns twice", 1,
        "lnn_group_s8(x + 8, weight + 32, acc)",
        "lnn_group_s8(x + 4, weight + 16, acc)", PACKED,
    ),
    fault(
        "pairs of rows exchanged", 1,
        "LNN_STORE(out, lnn_clamp_pair(value[0], value[1]",
        "LNN_STORE(out, lnn_clamp_pair(value[1], value[0]", ANY,
    ),
    fault(
        "lower bound not kept", 1,
        "__sel((uint32_t)both, (uint32_t)lo2)",
        "__sel((uint32_t)both, (uint32_t)both)", ANY,
    ),
    fault("saturates at 15 bits", 1, "ssat %1, #16", "ssat %1, #15", ANY),
    fault("product not rounded", 1, "smmulr %0, %1, %2", "smmul %0, %1, %2", (*PACKED, "linear_s16")),
    # rows
    fault(
        "two columns exchanged", 1,
        "__smlatt(w13, x23, __smlatb(w02, x23", "__smlatb(w13, x23, __smlatt(w02, x23", ROWS,
    ),
    fault("a pair of columns twice", 1, "__smlad(w23, x23,", "__smlad(w23, x01,", ("linear_w16_s16", "linear_w16_s32")),
    # LayerNorm, sums, ports
    fault(
        "upper half taken for the lower", 1,
        "return __smlawb(a, b, c);",
        "return __smlawt(a, b, c);", ("norm_affine_s32",),
    ),
    fault("beta of its neighbour", 1, "smlatb %1, %1, %3, %4", "smlabb %1, %1, %3, %4", ("norm_s16",)),
    fault("gamma of its neighbour", 1, "high = __smlawt(high, g,", "high = __smlawb(high, g,", ("norm_affine_s16",)),
    fault("beta moves on too slowly", 1, "beta += 2;", "beta += 1;", ("norm_s16",)),
    fault(
        "squares of one half", 1,
        "__smlald(b, b, __smlald(a, a, squares))",
        "__smlald(b, a, __smlald(a, a, squares))", ("norm_s16",),
    ),
    fault(
        "variance normalised by one pair too many", 1,
        "shift = gain_shift - step;",
        "shift = gain_shift - step - 1;", ("norm_s16",),
    ),
    fault(
        "sum of every second value", 1,
        "__smlad(b, 0x00010001, __smlad(a, 0x00010001, acc))",
        "__smlad(b, 0x00010001, __smlad(a, 0x00000001, acc))", ("sum_s32",),
    ),
    fault("centre added", 1, "__qsub16(", "__qadd16(", ("center_s16",)),
    # assembly
    fault("third row's multiplier", 2, "smmulr r6, r10, r6", "smmulr r6, r10, r5", ANY),
    fault("fourth row keeps the cross product", 2, "sub.w r11, r11, r4", "sub.w r11, r11, r11", ANY),
    fault("one offset in the loop", 2, "lnn_group 24, 28, 48, 52, 56, 60", "lnn_group 24, 28, 48, 52, 60, 60", ANY),
    fault("pre-shift off by one bit", 2, "lsrs r3, r3, #8", "lsrs r3, r3, #9", ANY),
    fault("a turn too many for no group", 2, ": 244u", ": 184u", ANY),
    fault("weights' start for whole turns only", 2, "16u * skip", "16u * (skip & 1u)", ANY),
    fault("last rows not stored", 2, "adds r2, #3", "adds r2, #2", ANY),
    fault("column left over, second row", 2, "smlabb r9, r5, r12, r9", "smlabb r9, r4, r12, r9", ANY),
    fault("bounds exchanged", 2, "ldr r5, [sp, #40]", "ldr r5, [sp, #44]", ANY),
)  # fmt: skip
