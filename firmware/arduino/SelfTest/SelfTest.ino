/* Runs the model's golden vectors on this board and prints PASS, or the first step that differs.
 *
 * SPDX-License-Identifier: 0BSD (yours to use without any condition)
 *
 * The vectors are synthetic inputs with the outputs of lnnc's reference: PASS says that this board, its compiler and
 * its flags compute them to the last bit. A sketch that does not call lnn_selftest has no vectors in its flash.
 */
#define LNN_SELFTEST /* declares lnn_selftest */
#include <lnn.h>

static lnn_state state;
static lnn_scratch scratch;

void setup()
{
    Serial.begin(115200);
    while (!Serial && millis() < 3000) {
        /* a board with USB of its own: wait for somebody to look, but not for ever */
    }
    const int differs = lnn_selftest(&state, &scratch);
    if (differs == 0) {
        Serial.println(F("PASS"));
    } else {
        Serial.print(F("FAIL: the first step that differs is "));
        Serial.println(differs - 1);
    }
}

void loop()
{
}
