#if LNN_PATH > 1
/* What lnn_sweep_s16 needs of a layer; the addresses and numbers of its inner loop come first. */
typedef struct {
    uint32_t from, to; /* address of the inputs less 8, and less 8 a group that is jumped over; end */
    uint32_t entry;    /* bytes of the loop's first turn that are jumped over: 72 a group */
    uint32_t skipped;  /* 16 bytes of weights for each of them, and 16 */
    uint32_t cross;    /* sum of x0 x2 + x1 x3 */
    uint32_t special;  /* columns after the last group + 256 shift */
    const int32_t *bias, *mult;
    int32_t left; /* rows */
    int16_t *out;
    int32_t lo2, hi2; /* the bounds in both halves */
} lnn_sweep;

/* (2) All rows of a packed layer, four at a time: group_s8 and block_s8 in assembly. Their loop holds
 * eight groups and is entered where whole turns are left. r7 and r11 may be frame pointers: they are
 * restored by hand. */
LNN_APART void lnn_sweep_s16(const lnn_sweep *layer, const int8_t *weight)
{
    register const lnn_sweep *r0 __asm__("r0") = layer;
    register const int8_t *r1 __asm__("r1") = weight;
    __asm__ __volatile__(
        /* r4, r5, r6, r8: sums of four rows; r9, r10: x0 x1 and x2 x3; r11, r12, lr, r7: weights */
        ".macro lnn_row sum, w\n\t"
        "sxtab16 r3, r9, \\w\n\tsxtab16 \\w, r10, \\w, ror #8\n\tsmlad \\sum, r3, \\w, \\sum\n\t"
        ".endm\n\t"
        ".macro lnn_group x0, x2, w0, w1, w2, w3, to\n\t"
        "ldr.w r10, [r0, #\\x2]\n\tldr.w r9, [r0, #\\x0]\\to\n\tldr.w r12, [r1, #\\w1]\n\t"
        "ldr.w lr, [r1, #\\w2]\n\tldr.w r7, [r1, #\\w3]\n\tldr.w r11, [r1, #\\w0]\\to\n\t"
        "lnn_row r4, r11\n\t" "lnn_row r5, r12\n\t" "lnn_row r6, lr\n\t" "lnn_row r8, r7\n\t"
        ".endm\n\t"
        ".macro lnn_clamp v\n\t" /* SSUB16 tells SEL which half is not smaller */
        "ssub16 r0, \\v, r10\n\tsel \\v, r10, \\v\n\tssub16 r0, \\v, r9\n\tsel \\v, \\v, r9\n\t"
        ".endm\n\t"
        "push {r7, r11}\n\t"
        "add.w r2, r0, #24\n\tldmia r2, {r3, r4, r5, r6, r8, r9}\n\t"
        "push {r3, r4, r5, r6, r8, r9}\n\t" /* sp + 24: bias, mult, left, out, lo2, hi2 */
        "ldmia r0, {r2, r3, r4, r5, r6, r8}\n\t"
        "push {r2, r3, r4, r5, r6, r8}\n" /* sp: from, to, entry, skipped, cross, special */
        "1:\n\t" /* four rows */
        "ldr.w r11, [sp, #24]\n\tldmia r11!, {r4, r5, r6, r8}\n\tstr.w r11, [sp, #24]\n\t"
        "ldmia.w sp, {r0, r2, r3, r9, r10}\n\t"
        "subs r4, r4, r10\n\tsubs r5, r5, r10\n\tsubs r6, r6, r10\n\tsub.w r8, r8, r10\n\t"
        "sub.w r1, r1, r9\n\t"
        ".p2align 2\n\tadd pc, r3\n\tnop\n"
        "2:\n\t"
        "lnn_group 8, 12, 16, 20, 24, 28\n\t"
        "lnn_group 16, 20, 32, 36, 40, 44\n\t"
        "lnn_group 24, 28, 48, 52, 56, 60\n\t"
        "lnn_group 32, 36, 64, 68, 72, 76\n\t"
        "lnn_group 40, 44, 80, 84, 88, 92\n\t"
        "lnn_group 48, 52, 96, 100, 104, 108\n\t"
        "lnn_group 56, 60, 112, 116, 120, 124\n\t"
        "lnn_group 64, 68, 128, 132, 136, 140, !\n\t"
        "cmp r0, r2\n\tbne.w 2b\n\t"
        "ldr r3, [sp, #20]\n\tcbz r3, 5f\n\t"
        "uxtb r2, r3\n\tcbz r2, 4f\n"
        "3:\n\t" /* a column after the last group */
        "ldrsh.w r9, [r0, #8]\n\tldrsb.w r10, [r1, #16]\n\tldrsb.w r11, [r1, #17]\n\t"
        "ldrsb.w r12, [r1, #18]\n\tldrsb.w lr, [r1, #19]\n\tadds r0, #2\n\tadds r1, #4\n\t"
        "smlabb r4, r10, r9, r4\n\tsmlabb r5, r11, r9, r5\n\tsmlabb r6, r12, r9, r6\n\t"
        "smlabb r8, lr, r9, r8\n\tsubs r2, #1\n\tbne 3b\n"
        "4:\n\t" /* the pre-shift */
        "lsrs r3, r3, #8\n\tlsls r4, r3\n\tlsls r5, r3\n\tlsls r6, r3\n\tlsl.w r8, r8, r3\n"
        "5:\n\t" /* (1), and as int16 */
        "ldr r3, [sp, #28]\n\tldmia r3!, {r9, r10, r11, r12}\n\tstr r3, [sp, #28]\n\t"
        "smmulr r4, r4, r9\n\tsmmulr r5, r5, r10\n\tsmmulr r6, r6, r11\n\tsmmulr r8, r8, r12\n\t"
        "ssat r4, #16, r4\n\tssat r5, #16, r5\n\tssat r6, #16, r6\n\tssat r8, #16, r8\n\t"
        "pkhbt r4, r4, r5, lsl #16\n\tpkhbt r6, r6, r8, lsl #16\n\t"
        "ldr r2, [sp, #32]\n\tldr r3, [sp, #36]\n\tldr.w r9, [sp, #40]\n\tldr.w r10, [sp, #44]\n\t"
        "lnn_clamp r4\n\t" "lnn_clamp r6\n\t"
        "adds r1, #16\n\tsubs r2, #4\n\tblt 6f\n\t"
        "str r4, [r3]\n\tstr r6, [r3, #4]\n\tadd.w r3, r3, #8\n\tstr r3, [sp, #36]\n\t"
        "str r2, [sp, #32]\n\tbne.w 1b\n\tb 7f\n"
        "6:\n\t" /* one, two or three rows are left */
        "strh r4, [r3]\n\tadds r2, #3\n\tbeq 7f\n\tlsrs r4, r4, #16\n\tstrh r4, [r3, #2]\n\t"
        "subs r2, #1\n\tbeq 7f\n\tstrh r6, [r3, #4]\n"
        "7:\n\t"
        "add sp, #48\n\tpop {r7, r11}\n\t"
        ".purgem lnn_row\n\t.purgem lnn_group\n\t.purgem lnn_clamp"
        : "+r"(r0), "+r"(r1)
        :
        : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r12", "lr", "cc", "memory");
}
#endif
