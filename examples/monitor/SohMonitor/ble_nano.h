/* The monitor over Bluetooth LE, with the library ArduinoBLE. What stands in the values is gatt.h's business. */
#ifndef BLE_NANO_H
#define BLE_NANO_H

#include "gatt.h"
#include <ArduinoBLE.h>

static BLEService ble_service(GATT_SERVICE);
static BLECharacteristic ble_feed(GATT_FEED, BLEWrite, GATT_FEED_BYTES);
static BLECharacteristic ble_command(GATT_COMMAND, BLEWrite, GATT_COMMAND_BYTES);
static BLECharacteristic ble_status(GATT_STATUS, BLERead | BLENotify, GATT_STATUS_BYTES);
static BLECharacteristic ble_forecast(GATT_FORECAST, BLERead | BLENotify, GATT_FORECAST_BYTES);
static BLECharacteristic ble_trust(GATT_TRUST, BLERead | BLENotify, GATT_TRUST_BYTES);
static BLECharacteristic ble_remaining(GATT_REMAINING, BLERead | BLENotify, GATT_REMAINING_BYTES);
static uint16_t ble_shown;  /* how far the changes were told */
static uint32_t ble_origin; /* of the forecast that was told */

/* The status comes last: whoever waits for it has the rest. */
static void ble_show(const monitor *m, uint8_t result, bool again)
{
    uint8_t value[GATT_STATUS_BYTES], block;

    if (m->forecasts && (again || ble_origin != m->origin)) {
        for (block = 0; block < GATT_BLOCKS; block++)
            ble_forecast.writeValue(value, gatt_forecast(m, block, value));
        ble_trust.writeValue(value, gatt_trust(m, value));
        ble_remaining.writeValue(value, gatt_remaining(m, value));
    }
    ble_status.writeValue(value, gatt_status(m, result, value));
    ble_shown = m->changes;
    ble_origin = m->origin;
}

static bool ble_begin(const monitor *m)
{
    BLECharacteristic *const all[] = {
        &ble_feed, &ble_command, &ble_status, &ble_forecast, &ble_trust, &ble_remaining};

    if (!BLE.begin())
        return false;
    BLE.setLocalName("SOH monitor");
    BLE.setAdvertisedService(ble_service);
    for (BLECharacteristic *each : all)
        ble_service.addCharacteristic(*each);
    BLE.addService(ble_service);
    ble_show(m, MONITOR_OK, true);
    return BLE.advertise();
}

/* Once in a loop. Returns whether a cycle was written; it is then in *cycle, and what it led to in *result. */
static bool ble_take(monitor *m, uint32_t *cycle, uint8_t *result)
{
    BLE.poll();
    if (ble_command.written())
        ble_show(m, gatt_command(m, ble_command.value(), (uint8_t)ble_command.valueLength()), true);
    if (ble_shown != m->changes) /* by way of Serial */
        ble_show(m, MONITOR_OK, false);
    if (!ble_feed.written())
        return false;
    *result = gatt_feed(m, ble_feed.value(), (uint8_t)ble_feed.valueLength());
    ble_show(m, *result, false);
    *cycle = m->last;
    return *result == MONITOR_OK;
}

#endif
