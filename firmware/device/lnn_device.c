/* The device's side of lnnc's verification protocol (docs/device.md there). SPDX-License-Identifier: 0BSD
 *
 * A frame is  type, number, length (2 bytes), payload, CRC-32  between two END bytes, escaped as in RFC 1055 (SLIP).
 * Damaged frames are dropped in silence: the computer asks again, under the same number. A step that was run already is
 * then not run again, only answered again.
 */
#include "lnn_device.h"

#define END 0xC0u
#define ESCAPE 0xDBu
#define ESCAPED_END 0xDCu
#define ESCAPED_ESCAPE 0xDDu

#define HEAD_BYTES 4u
#define CRC_BYTES 4u
#define CRC_START 0xFFFFFFFFu
#define CRC_WHOLE 0xDEBB20E3u /* CRC of anything that its own CRC follows */

#define VERSION 1u
enum { HELLO = 1, RESET, STEP, GET, SET, GOLDEN, BENCHMARK };
#define ANSWER 0x80u
#define REFUSAL 0xFFu
enum { SAY_HELLO = 1, RESET_FIRST, OUT_OF_ORDER, UNKNOWN, WRONG_LENGTH, NOT_BUILT_IN };

#ifdef LNN_DT_FRAC
#define HAS_DT 1u
#define RUN_STEP(d) lnn_step(&(d)->state, &(d)->room.step.scratch, (d)->room.step.in, (int32_t)get_u32((d)->room.step.dt), (d)->room.step.out)
#else
#define HAS_DT 0u
#define RUN_STEP(d) lnn_step(&(d)->state, &(d)->room.step.scratch, (d)->room.step.in, (d)->room.step.out)
#endif
#ifdef LNN_SELFTEST
#define HAS_GOLDEN 2u
#else
#define HAS_GOLDEN 0u
#endif

#if LNN_SAVE_BYTES > 65535 || 2 * LNN_INPUTS > 65529 || 2 * LNN_OUTPUTS > 65527
#error "a frame of the verification protocol cannot hold the ports or the state of this model"
#endif

#define INPUT_BYTES (2u * (uint32_t)LNN_INPUTS)
#define ROOM_BYTES ((uint32_t)sizeof(lnn_device_room))

/* Texts of the hello; on an AVR they stay in flash. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
static const char identity[] PROGMEM = LNN_ARITHMETIC "\0" LNN_DIGEST;
#define IDENTITY(i) ((uint8_t)pgm_read_byte(identity + (i)))
#else
static const char identity[] = LNN_ARITHMETIC "\0" LNN_DIGEST;
#define IDENTITY(i) ((uint8_t)identity[i])
#endif

/* CRC-32 as in zlib and PNG, bit by bit: a table would cost a kilobyte. */
static uint32_t add_to_crc(uint32_t crc, uint8_t byte)
{
    uint8_t bit;
    crc ^= byte;
    for (bit = 0u; bit < 8u; bit++)
        crc = (crc >> 1) ^ ((crc & 1u) != 0u ? 0xEDB88320u : 0u);
    return crc;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | ((uint32_t)at[1] << 8) | ((uint32_t)at[2] << 16) | ((uint32_t)at[3] << 24);
}

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)((uint16_t)at[0] | (uint16_t)((uint16_t)at[1] << 8));
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void send_escaped(const lnn_device *d, uint8_t byte)
{
    if (byte == END || byte == ESCAPE) {
        d->port->write(ESCAPE);
        byte = byte == END ? ESCAPED_END : ESCAPED_ESCAPE;
    }
    d->port->write(byte);
}

static void send(lnn_device *d, uint8_t byte)
{
    d->crc = add_to_crc(d->crc, byte);
    send_escaped(d, byte);
}

static void send_number(lnn_device *d, uint32_t value, uint8_t bytes)
{
    for (; bytes > 0u; bytes--, value >>= 8)
        send(d, (uint8_t)(value & 0xFFu));
}

static void begin_answer(lnn_device *d, uint8_t type, uint32_t length)
{
    d->crc = CRC_START;
    d->port->write(END);
    send(d, type);
    send(d, d->head[1]);
    send_number(d, length, 2u);
}

static void end_answer(lnn_device *d)
{
    uint32_t crc = ~d->crc;
    uint8_t i;
    for (i = 0u; i < CRC_BYTES; i++, crc >>= 8)
        send_escaped(d, (uint8_t)(crc & 0xFFu));
    d->port->write(END);
}

static void refuse(lnn_device *d, uint8_t why)
{
    begin_answer(d, REFUSAL, 1u);
    send(d, why);
    end_answer(d);
}

static void answer_number(lnn_device *d, uint32_t value, uint8_t bytes)
{
    begin_answer(d, (uint8_t)(d->head[0] | ANSWER), bytes);
    send_number(d, value, bytes);
    end_answer(d);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static uint32_t now(const lnn_device *d)
{
    return d->port->ticks != 0 ? d->port->ticks() : 0u;
}

static uint16_t text_bytes(const char *text)
{
    uint16_t n = 0u;
    while (n < 64u && text[n] != '\0')
        n++;
    return n;
}

static void hello(lnn_device *d)
{
    const uint8_t *request = d->room.saved;
    const uint16_t board = text_bytes(d->port->board);
    uint16_t i;
    d->stage = 1u;
    begin_answer(d, HELLO | ANSWER, 18u + (uint32_t)sizeof identity + board + 1u);
    send_number(d, get_u32(request), 4u); /* the computer's own number back: this is no old answer */
    send(d, VERSION);
    send(d, (uint8_t)(HAS_DT | HAS_GOLDEN));
    send_number(d, LNN_INPUTS, 2u);
    send_number(d, LNN_OUTPUTS, 2u);
    send_number(d, LNN_SAVE_BYTES, 4u);
    send_number(d, d->port->ticks != 0 ? d->port->hz : 0u, 4u);
    for (i = 0u; i < sizeof identity; i++)
        send(d, IDENTITY(i));
    for (i = 0u; i < board; i++)
        send(d, (uint8_t)d->port->board[i]);
    send(d, 0u);
    end_answer(d);
}

/* The inputs of a request as numbers, where they lie. */
static void decode_inputs(lnn_device *d)
{
    const uint8_t *from = (const uint8_t *)d->room.step.in;
    uint16_t i;
    for (i = 0u; i < (uint16_t)LNN_INPUTS; i++)
        d->room.step.in[i] = (int16_t)get_u16(from + 2u * i);
}

static void answer_step(lnn_device *d)
{
    const uint16_t outputs = d->returned == 0 ? (uint16_t)LNN_OUTPUTS : 0u;
    uint16_t i;
    begin_answer(d, STEP | ANSWER, 8u + 2u * (uint32_t)outputs);
    send_number(d, (uint32_t)d->returned, 4u);
    send_number(d, d->took, 4u);
    for (i = 0u; i < outputs; i++)
        send_number(d, (uint16_t)d->room.step.out[i], 2u);
    end_answer(d);
}

static void step(lnn_device *d)
{
    uint32_t start;
    decode_inputs(d);
    start = now(d);
    d->returned = RUN_STEP(d);
    d->took = now(d) - start;
    d->kept = 1u;
    answer_step(d);
}

static void benchmark(lnn_device *d)
{
    const uint16_t steps = get_u16(d->room.step.steps);
    uint32_t least = 0xFFFFFFFFu, worst = 0u, total = 0u;
    uint16_t i;
    decode_inputs(d);
    for (i = 0u; i < steps; i++) {
        const uint32_t start = now(d);
        uint32_t ticks;
        (void)RUN_STEP(d);
        ticks = now(d) - start;
        least = ticks < least ? ticks : least;
        worst = ticks > worst ? ticks : worst;
        total += ticks;
    }
    begin_answer(d, BENCHMARK | ANSWER, 12u);
    send_number(d, least, 4u);
    send_number(d, worst, 4u);
    send_number(d, total, 4u);
    end_answer(d);
}

static void get_state(lnn_device *d)
{
    uint32_t i;
    lnn_save(&d->state, d->room.saved);
    begin_answer(d, GET | ANSWER, LNN_SAVE_BYTES);
    for (i = 0u; i < (uint32_t)LNN_SAVE_BYTES; i++)
        send(d, d->room.saved[i]);
    end_answer(d);
}

static void set_state(lnn_device *d)
{
    const int code = lnn_load(&d->state, d->room.saved, get_u16(d->head + 2));
    d->stage = code == 0 ? 2u : d->stage;
    answer_number(d, (uint32_t)(int32_t)code, 4u);
}

static void golden(lnn_device *d)
{
#ifdef LNN_SELFTEST
    answer_number(d, (uint32_t)(int32_t)lnn_selftest(&d->state, &d->room.step.scratch), 4u);
#else
    refuse(d, NOT_BUILT_IN);
#endif
}

static void run(lnn_device *d)
{
    switch (d->head[0]) {
    case HELLO:
        hello(d);
        break;
    case RESET:
        lnn_reset(&d->state);
        d->stage = 2u;
        answer_number(d, 0u, 0u);
        break;
    case STEP:
        step(d);
        break;
    case GET:
        get_state(d);
        break;
    case SET:
        set_state(d);
        break;
    case GOLDEN:
        golden(d);
        break;
    default:
        benchmark(d);
        break;
    }
}

/* Whether a request of this type has this length. */
static int fits(uint8_t type, uint16_t length)
{
    switch (type) {
    case HELLO:
        return length == 4u;
    case STEP:
        return length == INPUT_BYTES + 4u;
    case SET:
        return length <= LNN_SAVE_BYTES;
    case BENCHMARK:
        return length == INPUT_BYTES + 6u;
    default:
        return length == 0u;
    }
}

/* Why a whole request cannot be run, or 0. */
static uint8_t objection(const lnn_device *d)
{
    const uint8_t type = d->head[0], number = d->head[1];
    const int again = number == d->last && type == d->last_type;
    if (type < HELLO || type > BENCHMARK)
        return UNKNOWN;
    if (!fits(type, get_u16(d->head + 2)))
        return WRONG_LENGTH;
    if (type == HELLO)
        return 0u;
    if (d->stage == 0u)
        return SAY_HELLO;
    if (!again && number != (uint8_t)(d->last + 1u))
        return OUT_OF_ORDER;
    if (d->stage == 1u && (type == STEP || type == GET || type == BENCHMARK))
        return RESET_FIRST;
    if (type == STEP && again && d->kept == 0u)
        return OUT_OF_ORDER; /* its outputs are gone, and it must not be run twice */
    return 0u;
}

static void handle(lnn_device *d)
{
    const uint8_t why = objection(d);
    const int again = d->head[1] == d->last && d->head[0] == STEP && d->last_type == STEP;
    if (why != 0u) {
        refuse(d, why);
        return;
    }
    if (again) {
        answer_step(d);
        return;
    }
    d->last = d->head[1];
    d->last_type = d->head[0];
    d->kept = 0u;
    run(d);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static void begin_frame(lnn_device *d)
{
    d->count = 0u;
    d->crc = CRC_START;
    d->escaped = 0u;
}

static void end_frame(lnn_device *d)
{
    const int whole = d->count >= HEAD_BYTES + CRC_BYTES && d->crc == CRC_WHOLE
                      && d->count - (HEAD_BYTES + CRC_BYTES) == get_u16(d->head + 2);
    if (whole)
        handle(d);
    begin_frame(d);
}

/* A byte of the payload goes to the room if the request can be one. The outputs of the last step lie behind what any
 * request but SET may write. */
static void keep(lnn_device *d, uint8_t byte)
{
    const uint32_t at = d->count - HEAD_BYTES;
    const uint16_t length = get_u16(d->head + 2);
    if (at >= length || at >= ROOM_BYTES || !fits(d->head[0], length))
        return;
    if (d->head[0] == SET)
        d->kept = 0u;
    ((uint8_t *)&d->room)[at] = byte;
}

void lnn_device_start(lnn_device *device, const lnn_device_port *port)
{
    device->port = port;
    device->stage = 0u;
    device->last = 0u;
    device->last_type = 0u;
    device->kept = 0u;
    device->took = 0u;
    device->returned = 0;
    begin_frame(device);
}

void lnn_device_take(lnn_device *device, uint8_t byte)
{
    if (byte == END) {
        end_frame(device);
        return;
    }
    if (byte == ESCAPE) {
        device->escaped = 1u;
        return;
    }
    if (device->escaped != 0u) {
        device->escaped = 0u;
        byte = byte == ESCAPED_END ? (uint8_t)END : byte == ESCAPED_ESCAPE ? (uint8_t)ESCAPE : byte;
    }
    device->crc = add_to_crc(device->crc, byte);
    if (device->count < HEAD_BYTES)
        device->head[device->count] = byte;
    else
        keep(device, byte);
    if (device->count < 0x20000u) /* longer than any frame: noise without an end must not begin anew */
        device->count++;
}
