#include "monitor.h"
#include "little.h"

#define LAYOUT 1u
#define PENDING 1u /* a value follows the state; without one, no cycle has come yet */

static void forget(monitor *m)
{
    soh_reset(&m->model);
    m->first = m->last = m->origin = m->saved = 0;
    m->value = 0;
    m->missing = m->started = m->forecasts = m->filled = 0;
}

/* --- the memory ---
 *
 * A record holds the state from before a block's last value, and that value: stepping it again at power on brings
 * the forecast back too, which the state does not hold and which would be 200 bytes more.
 */

static void note(monitor *m, uint8_t flags, uint32_t last, int16_t value)
{
    uint8_t *kept = m->record + JOURNAL_HEAD;
    uint16_t i;

    for (i = MONITOR_HEAD + SOH_SAVE_BYTES; i < MONITOR_KEPT; i++)
        kept[i] = 0;
    put_u32(kept, m->first);
    put_u32(kept + 4, last);
    put_u32(kept + 8, m->nominal);
    kept[12] = (uint8_t)((uint16_t)value & 0xFFu);
    kept[13] = (uint8_t)((uint16_t)value >> 8);
    kept[14] = flags;
    kept[15] = LAYOUT;
    soh_save(&m->model, kept + MONITOR_HEAD);
}

static void keep(monitor *m)
{
    if (m->port == 0)
        return;
    m->failed = journal_write(&m->kept, m->record) != 0;
    if (!m->failed)
        m->saved = m->last;
}

static void step(monitor *m, uint32_t cycle, int16_t soh)
{
    m->missing = (uint8_t)soh_step(&m->model, &m->scratch, &soh, m->forecast);
    m->last = cycle;
    m->value = soh;
    m->started = 1;
    if (m->missing != 0u)
        return;
    m->origin = cycle;
    m->forecasts = 1;
}

/* Returns -1 when nothing is kept that this model can go on from. */
static int take_up(monitor *m)
{
    const uint8_t *kept = m->record + JOURNAL_HEAD;

    if (journal_read(&m->kept, m->record) != 0 || kept[15] != LAYOUT)
        return -1;
    m->nominal = get_u32(kept + 8); /* a setting: it outlives the model that it was made with */
    if (soh_load(&m->model, kept + MONITOR_HEAD, SOH_SAVE_BYTES) != 0)
        return -1;
    m->first = get_u32(kept);
    if ((kept[14] & PENDING) != 0u)
        step(m, get_u32(kept + 4), (int16_t)(uint16_t)(kept[12] | (uint16_t)kept[13] << 8));
    m->saved = m->last;
    return 0;
}

void monitor_begin(monitor *m, const journal_port *port)
{
    m->port = port;
    m->nominal = MONITOR_NOMINAL;
    m->changes = 1;
    m->failed = 0;
    forget(m);
    if (port == 0)
        return;
    journal_mount(&m->kept, port, MONITOR_KEPT);
    if (take_up(m) != 0)
        forget(m);
}

/* --- what comes in --- */

static void take(monitor *m, uint32_t cycle, int16_t soh)
{
    if (!m->started)
        m->first = cycle;
    note(m, PENDING, cycle, soh);
    step(m, cycle, soh);
    if (m->missing == 0u)
        keep(m);
    m->changes++;
}

/* The cycles between the last one and this one, on a straight line. */
static void fill_in(monitor *m, uint32_t cycle, int16_t soh)
{
    const uint32_t from = m->last;
    const int32_t start = m->value, rise = (int32_t)soh - start, run = (int32_t)(cycle - from);
    int32_t i;

    for (i = 1; i < run; i++)
        take(m, from + (uint32_t)i, (int16_t)(start + rise * i / run));
    m->filled = (uint8_t)(run - 1);
}

monitor_result monitor_feed(monitor *m, uint32_t cycle, int16_t soh, int fill)
{
    m->filled = 0;
    if (soh < 0 || soh > MONITOR_MOST || cycle == UINT32_MAX)
        return MONITOR_RANGE;
    if (m->started) {
        if (cycle <= m->last)
            return cycle == m->last ? MONITOR_DUPLICATE : MONITOR_OLD;
        if (cycle - m->last - 1u > (fill ? MONITOR_FILL : 0u))
            return MONITOR_GAP;
        fill_in(m, cycle, soh);
    }
    take(m, cycle, soh);
    return MONITOR_OK;
}

/* part / whole in Q14, to nearest; -1, which no feed takes, when it is above MONITOR_MOST. */
static int16_t q14(uint32_t part, uint32_t whole)
{
    const uint64_t q = (((uint64_t)part << 15) / whole + 1u) >> 1;

    return q > MONITOR_MOST ? -1 : (int16_t)q;
}

monitor_result monitor_feed_capacity(monitor *m, uint32_t cycle, uint32_t capacity, int fill)
{
    return monitor_feed(m, cycle, q14(capacity, m->nominal), fill);
}

monitor_result monitor_feed_soh(monitor *m, uint32_t cycle, uint32_t millionths, int fill)
{
    return monitor_feed(m, cycle, q14(millionths, MONITOR_UNIT), fill);
}

monitor_result monitor_set_nominal(monitor *m, uint32_t nominal)
{
    if (nominal == 0u)
        return MONITOR_RANGE;
    if (m->started)
        return nominal == m->nominal ? MONITOR_OK : MONITOR_LOCKED;
    m->nominal = nominal;
    m->changes++;
    note(m, 0, 0, 0);
    keep(m);
    return MONITOR_OK;
}

void monitor_reset(monitor *m)
{
    forget(m);
    m->changes++;
    note(m, 0, 0, 0);
    keep(m);
}

/* --- what can be asked --- */

uint32_t monitor_needs(const monitor *m)
{
    return m->started ? m->last + 1u : 1u;
}

uint8_t monitor_remaining(const monitor *m)
{
    uint8_t t;

    if (!m->forecasts)
        return 0;
    for (t = 0; t < SOH_OUTPUTS; t++)
        if (m->forecast[t] < MONITOR_END)
            return (uint8_t)(t + 1u);
    return MONITOR_BEYOND;
}

const int16_t *monitor_trust(const monitor *m)
{
    return m->model.trust_weights;
}
