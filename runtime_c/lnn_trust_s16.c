/* (44) Blend of four forecasts by how well each has done. past: 10 rows of anchor, slope, 4 terms of
 * the network, 2 of a line, 3 of a parabola (the fourth forecast is the anchor line itself), the
 * newest first. What a forecast that is j + 1 steps old said of `level` differs from it by
 * |(level - anchor) scale - slope middle[j] - sum of terms basis[j]|, Q10. scores: Q12, larger is worse;
 * weights: Q14, their softmax. All bounds are in SEMANTICS.md. */
static void lnn_trust_s16(const int16_t *network, const int16_t *rivals, const int16_t *anchor,
    const int16_t *slope, const int16_t *level, int32_t scale, const int16_t *middle,
    const int16_t *basis, const int32_t *prior, int32_t floor, int32_t most, int32_t loss,
    int32_t rate, const int16_t *table, int16_t *past, int16_t *count, int32_t *scores,
    int16_t *weights, int16_t *out)
{
    int32_t error[4] = {0, 0, 0, 0}, i, j, k, least, unit, sum;
    const int16_t *row = past;
    for (j = 0; j < count[0]; j++, row += 11, basis += 4) {
        const int32_t b0 = LNN_S16(basis), b1 = LNN_S16(basis + 1), b2 = LNN_S16(basis + 2);
        int32_t gap[4];
        gap[1] = ((int32_t)level[0] - row[0]) * scale - (int32_t)row[1] * LNN_S16(middle + j);
        gap[0] = gap[1] - row[2] * b0 - row[3] * b1 - row[4] * b2 - row[5] * (int32_t)LNN_S16(basis + 3);
        gap[2] = gap[1] - row[6] * b0 - row[7] * b1;
        gap[3] = gap[1] - row[8] * b0 - row[9] * b1 - row[10] * b2;
        for (i = 0; i < 4; i++)
            error[i] += lnn_clamp((gap[i] < 0 ? -gap[i] : gap[i]) >> 10, 0, 32767);
    }
    least = error[0];
    for (i = 1; i < 4; i++)
        least = error[i] < least ? error[i] : least;
    unit = count[0] * floor + least;
    if (count[0] > 0)
        for (i = 0; i < 4; i++) {
            const int32_t worse = lnn_clamp(error[i] - least, 0, most * unit);
            sum = scores[i] - lnn_requant(scores[i], loss) + worse * 4096 / unit;
            scores[i] = sum < 8388608 ? sum : 8388608;
        }
    for (i = 0; i < 4; i++) {
        error[i] = lnn_requant(scores[i] * 16, rate) - LNN_S32(prior + i);
        least = i > 0 && least < error[i] ? least : error[i];
    }
    for (sum = 1, i = 0; i < 4; i++) { /* exp(-z) = (1 - tanh(z / 2)) / (1 + tanh(z / 2)) */
        const int32_t t = lnn_tanh_q15((error[i] - least) >> 1, table);
        error[i] = (32768 - t) * 32768 / (32768 + t);
        sum += error[i];
    }
    for (i = 0; i < 4; i++)
        weights[i] = (int16_t)(error[i] * 16384 / sum);
    for (k = 0; k < 4; k++) {
        sum = 8192 + (int32_t)weights[0] * network[k];
        sum += k < 2 ? (int32_t)weights[2] * rivals[k] : 0;
        sum += k < 3 ? (int32_t)weights[3] * rivals[2 + k] : 0;
        out[k] = (int16_t)(sum >> 14);
    }
    for (i = 109; i >= 11; i--)
        past[i] = past[i - 11];
    past[0] = anchor[0];
    past[1] = slope[0];
    for (k = 0; k < 4; k++)
        past[2 + k] = network[k];
    for (k = 0; k < 5; k++)
        past[6 + k] = rivals[k];
    count[0] = (int16_t)(count[0] < 10 ? count[0] + 1 : 10);
}
