// The part of ArduinoBLE's interface that the monitor uses, with its names and types, so that a compiler can check the
// calls. It does nothing.
#pragma once
#include <stdint.h>

enum BLEProperty { BLEBroadcast = 1, BLERead = 2, BLEWriteWithoutResponse = 4, BLEWrite = 8, BLENotify = 16, BLEIndicate = 32 };

class BLECharacteristic {
public:
    BLECharacteristic(const char *uuid, uint16_t permissions, int valueSize, bool fixedLength = false);
    int writeValue(const uint8_t value[], int length, bool withResponse = true);
    const uint8_t *value() const;
    int valueLength() const;
    bool written();
};

class BLEService {
public:
    explicit BLEService(const char *uuid);
    void addCharacteristic(BLECharacteristic &characteristic);
};

class BLELocalDevice {
public:
    int begin();
    void poll();
    void setLocalName(const char *name);
    void setAdvertisedService(const BLEService &service);
    void addService(BLEService &service);
    int advertise();
};
extern BLELocalDevice BLE;
