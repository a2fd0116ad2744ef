#if LNN_PATH > 1
/* What lnn_sweep_s16 needs of a layer; the addresses and numbers of its inner loop come first. */
typedef struct {
    uint32_t from;    /* address of the inputs less 8, and less 8 a group that is jumped over */
    uint32_t entry;   /* bytes of the loop's first turn that are jumped over: 60 a group */
    uint32_t skipped; /* 16 bytes of weights for each of them */
    uint32_t cross;   /* sum of x0 x2 + x1 x3 */
    uint32_t to;      /* address of the last group */
    uint32_t special; /* columns after it + 256 shift */
    const int32_t *bias, *mult;
    int32_t left; /* rows */
    int16_t *out;
    int32_t lo2, hi2; /* the bounds in both halves */
} lnn_sweep;

/* (2) All rows of a packed layer, four at a time: group_s8 and block_s8 in assembly. Their loop holds
 * four groups and is entered where whole turns are left. What it loads goes to r2 ... r7, which makes
 * an LDR of two bytes. r7 and r11 may be frame pointers: they are restored by hand. */
LNN_APART static void lnn_sweep_s16(const lnn_sweep *layer, const int8_t *weight)
{
    register const lnn_sweep *r0 __asm__("r0") = layer;
    register const int8_t *r1 __asm__("r1") = weight;
    __asm__ __volatile__(
        /* r8 ... r11: sums of four rows; r2, r3: x0 x1 and x2 x3; r4 ... r7: weights; lr: where x ends */
        ".macro lnn_row sum, w\n\t"
        "sxtab16 r12, r2, \\w\n\tsxtab16 \\w, r3, \\w, ror #8\n\tsmlad \\sum, r12, \\w, \\sum\n\t"
        ".endm\n\t"
        ".macro lnn_group x0, x2, w0, w1, w2, w3, wide, to\n\t"
        "ldr r3, [r0, #\\x2]\n\tldr\\wide r2, [r0, #\\x0]\\to\n\tldr r5, [r1, #\\w1]\n\t"
        "ldr r6, [r1, #\\w2]\n\tldr r7, [r1, #\\w3]\n\tldr\\wide r4, [r1, #\\w0]\\to\n\t"
        "lnn_row r8, r4\n\t" "lnn_row r9, r5\n\t" "lnn_row r10, r6\n\t" "lnn_row r11, r7\n\t"
        ".endm\n\t"
        ".macro lnn_clamp v\n\t" /* SSUB16 tells SEL which half is not smaller */
        "ssub16 r0, \\v, r7\n\tsel \\v, r7, \\v\n\tssub16 r0, \\v, r5\n\tsel \\v, \\v, r5\n\t"
        ".endm\n\t"
        "push {r7, r11}\n\tsubs r1, #16\n\t"
        "add.w r2, r0, #24\n\tldmia r2, {r3, r4, r5, r6, r8, r9}\n\t"
        "push {r3, r4, r5, r6, r8, r9}\n\t" /* sp + 24: bias, mult, left, out, lo2, hi2 */
        "ldmia r0, {r2, r3, r4, r5, r6, r7}\n\t"
        "push {r2, r3, r4, r5, r6, r7}\n" /* sp: from, entry, skipped, cross, to, special */
        "1:\n\t" /* four rows */
        "ldr r2, [sp, #24]\n\tldmia r2!, {r8, r9, r10, r11}\n\tstr r2, [sp, #24]\n\t"
        "ldmia.w sp, {r0, r2, r3, r4, lr}\n\t"
        "sub.w r8, r8, r4\n\tsub.w r9, r9, r4\n\tsub.w r10, r10, r4\n\tsub.w r11, r11, r4\n\t"
        "sub.w r1, r1, r3\n\t" /* four bytes: no nop is needed before the jump */
        ".p2align 2\n\tadd pc, r2\n\tnop\n"
        "2:\n\t"
        "lnn_group 8, 12, 16, 20, 24, 28\n\t"
        "lnn_group 16, 20, 32, 36, 40, 44\n\t"
        "lnn_group 24, 28, 48, 52, 56, 60\n\t"
        "lnn_group 32, 36, 64, 68, 72, 76, .w, !\n\t"
        "cmp r0, lr\n\tbne 2b\n\t"
        "ldr r3, [sp, #20]\n\tcbz r3, 5f\n\t"
        "uxtb r2, r3\n\tcbz r2, 4f\n"
        "3:\n\t" /* a column after the last group */
        "ldrsh.w r12, [r0, #8]\n\tldrsb.w r4, [r1, #16]\n\tldrsb.w r5, [r1, #17]\n\t"
        "ldrsb.w r6, [r1, #18]\n\tldrsb.w r7, [r1, #19]\n\tadds r0, #2\n\tadds r1, #4\n\t"
        "smlabb r8, r4, r12, r8\n\tsmlabb r9, r5, r12, r9\n\tsmlabb r10, r6, r12, r10\n\t"
        "smlabb r11, r7, r12, r11\n\tsubs r2, #1\n\tbne 3b\n"
        "4:\n\t" /* the pre-shift */
        "lsrs r3, r3, #8\n\tlsl.w r8, r8, r3\n\tlsl.w r9, r9, r3\n\tlsl.w r10, r10, r3\n\t"
        "lsl.w r11, r11, r3\n"
        "5:\n\t" /* (1), and as int16 */
        "ldr r3, [sp, #28]\n\tldmia r3!, {r4, r5, r6, r7}\n\tstr r3, [sp, #28]\n\t"
        "smmulr r4, r8, r4\n\tsmmulr r5, r9, r5\n\tsmmulr r6, r10, r6\n\tsmmulr r7, r11, r7\n\t"
        "ssat r4, #16, r4\n\tssat r5, #16, r5\n\tssat r6, #16, r6\n\tssat r7, #16, r7\n\t"
        "pkhbt r4, r4, r5, lsl #16\n\tpkhbt r6, r6, r7, lsl #16\n\t"
        "ldr r2, [sp, #32]\n\tldr r3, [sp, #36]\n\tldr r5, [sp, #40]\n\tldr r7, [sp, #44]\n\t"
        "lnn_clamp r4\n\t" "lnn_clamp r6\n\t"
        "subs r2, #4\n\tblt 6f\n\t"
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
