/* Takes samples from the serial monitor and prints the model's outputs, all of them in real units.
 *
 * SPDX-License-Identifier: 0BSD (yours to use without any condition)
 *
 * A line is one step: a number for each input, between spaces or commas, and last, where the model takes it, the time
 * since the sample before. The answer is a line of outputs, or how many samples are needed first. "reset" begins a new
 * sequence. Nothing waits here: loop() has room for your own work. Send a line when the one before is answered.
 */
#include <lnn.h>
#include <stdlib.h>
#include <string.h>

#ifdef LNN_DT_FRAC
static const uint16_t NUMBERS = LNN_INPUTS + 1;
static int32_t dt;
#else
static const uint16_t NUMBERS = LNN_INPUTS;
#endif

static lnn_state state;
static lnn_scratch scratch;
static int16_t in[LNN_INPUTS], out[LNN_OUTPUTS];

static char token[24]; /* the number that is arriving */
static uint8_t length;
static uint16_t count; /* numbers of this line so far */
static bool unreadable;

/* As many decimals as the output's resolution has. */
static uint8_t decimals(int i)
{
    float unit = lnn_to_real(i, 1);
    uint8_t digits = 0;
    for (; unit < 0.99f && digits < 7; digits++)
        unit *= 10.0f;
    return digits;
}

static void print_outputs()
{
    for (int i = 0; i < LNN_OUTPUTS; i++) {
        if (i > 0)
            Serial.print(' ');
        Serial.print(lnn_to_real(i, out[i]), decimals(i));
    }
    Serial.println();
}

static void run_step()
{
#ifdef LNN_DT_FRAC
    const int missing = lnn_step(&state, &scratch, in, dt, out);
    if (missing == LNN_BAD_DT) {
        Serial.println(F("the time is out of range"));
        return;
    }
#else
    const int missing = lnn_step(&state, &scratch, in, out);
#endif
    if (missing == 0) {
        print_outputs();
        return;
    }
    Serial.print(missing);
    Serial.println(F(" more needed"));
}

static void take_number(float value)
{
    if (count < LNN_INPUTS)
        in[count] = lnn_from_real((int)count, value);
#ifdef LNN_DT_FRAC
    if (count == LNN_INPUTS)
        dt = lnn_dt_from_real(value);
#endif
    if (count <= NUMBERS) /* enough to know that a line has too many */
        count++;
}

static void end_token()
{
    if (length == 0)
        return;
    char *end;
    token[length] = '\0';
    length = 0;
    if (strcmp(token, "reset") == 0) {
        lnn_reset(&state);
        return;
    }
    const double value = strtod(token, &end);
    if (*end != '\0' || !(value - value == 0.0)) /* NaN and Inf are no numbers here */
        unreadable = true;
    else
        take_number((float)value);
}

static void end_line()
{
    if (unreadable || (count > 0 && count != NUMBERS)) {
        Serial.print(F("expected numbers in a line: "));
        Serial.println(NUMBERS);
    } else if (count > 0) {
        run_step();
    }
    count = 0;
    unreadable = false;
}

static void take(char c)
{
    const bool ends = c == '\n' || c == '\r';
    if (ends || c == ' ' || c == ',' || c == ';' || c == '\t') {
        end_token();
        if (ends)
            end_line();
    } else if (length < sizeof token - 1) {
        token[length++] = c;
    } else {
        unreadable = true;
    }
}

void setup()
{
    Serial.begin(115200);
    lnn_reset(&state);
}

void loop()
{
    while (Serial.available() > 0)
        take((char)Serial.read());
}
