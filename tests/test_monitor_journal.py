"""examples/monitor: the journal. Power fails at every byte; the newest record is there, or the one being written."""

from __future__ import annotations

import ctypes
from collections import Counter

import numpy as np
import pytest
from monitor_device import EEPROM, ENOUGH, FLASH, Device

pytestmark = pytest.mark.needs("gcc")
PAYLOAD = 20
RECORD = PAYLOAD + 12
MEMORIES = [
    pytest.param((FLASH, 2, 3 * RECORD + 5), id="flash, two pages"),
    pytest.param((FLASH, 4, 2 * RECORD), id="flash, four pages"),
    pytest.param((FLASH, 2, RECORD), id="flash, a record a page"),
    pytest.param((EEPROM, 2, RECORD + 3), id="eeprom"),
]


class Journal:
    """The journal by itself, with small records."""

    def __init__(self, memory: tuple[int, int, int]) -> None:
        self.device, self.memory = Device(), memory
        self.device.flash[:] = 0xFF
        self.mount()

    def mount(self) -> bytes | None:
        """Power on; the payload that is found."""
        room = ctypes.create_string_buffer(PAYLOAD)
        self.device.c.host_mount.restype = ctypes.c_long
        self.sequence = self.device.c.host_mount(*self.memory, PAYLOAD, room)
        return room.raw if self.sequence > 0 else None

    def write(self, payload: bytes) -> int:
        return int(self.device.c.host_journal_write(payload, len(payload)))


def payload(number: int) -> bytes:
    return np.random.default_rng(number).integers(0, 256, PAYLOAD).astype(np.uint8).tobytes()


def cost(journal: Journal) -> int:
    """Bytes of memory that the most expensive write may touch."""
    return journal.memory[2] + RECORD


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_newest_record_is_found(memory: tuple[int, int, int]) -> None:
    journal = Journal(memory)
    assert journal.mount() is None
    for number in range(1, 40):
        assert journal.write(payload(number)) == 0
        if number % 3 == 0:
            assert journal.mount() == payload(number) and journal.sequence == number
    assert journal.device.c.host_faults() == 0


@pytest.mark.parametrize("memory", MEMORIES)
def test_power_that_fails_at_any_byte_loses_nothing(memory: tuple[int, int, int]) -> None:
    """Each of the first writes, cut at every byte, the erasures too; and the write after that cut once more."""
    journal = Journal(memory)
    flash, cuts = journal.device.flash, 0
    for number in range(1, 10):
        before = flash.copy()
        old = journal.mount()
        for lasts in range(cost(journal)):
            flash[:] = before
            assert journal.mount() == old
            journal.device.power(lasts)
            if journal.write(payload(number)) == 0:
                break
            cuts += 1
            torn = flash.copy()
            found = journal.mount()
            assert found in (old, payload(number)), (number, lasts)
            for again in (lasts % 7, lasts):  # it fails again on the way back
                flash[:] = torn
                journal.mount()
                journal.device.power(again)
                done = journal.write(payload(100 + number))
                assert journal.mount() in ({payload(100 + number)} if done == 0 else {found, payload(100 + number)})
            flash[:] = torn
            journal.mount()
            journal.device.power(ENOUGH)
            assert journal.write(payload(200 + number)) == 0 and journal.mount() == payload(200 + number)
        flash[:] = before
        journal.mount()
        journal.device.power(ENOUGH)
        assert journal.write(payload(number)) == 0
    assert cuts > 200
    assert journal.device.c.host_faults() == 0


def test_wear_is_spread() -> None:
    """Every page takes its turn, and is filled before the next is erased."""
    journal = Journal((FLASH, 4, 3 * RECORD))
    places: Counter[int] = Counter()
    for number in range(1, 121):
        before = journal.device.flash.copy()
        journal.write(payload(number))
        (changed,) = np.nonzero(journal.device.flash != before)
        places[int(changed.min()) // RECORD] += 1
    assert set(places) == set(range(12)) and set(places.values()) == {10}


def test_a_damaged_record_gives_way_to_the_one_before() -> None:
    journal = Journal((FLASH, 2, 3 * RECORD))
    for number in (1, 2):
        journal.write(payload(number))
    for at in range(RECORD, 2 * RECORD):
        for bit in range(8):
            journal.device.flash[at] ^= 1 << bit
            assert journal.mount() == payload(1), at
            journal.device.flash[at] ^= 1 << bit
    assert journal.mount() == payload(2)


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x5A])
def test_a_memory_that_holds_something_else_is_empty(fill: int) -> None:
    journal = Journal((FLASH, 2, 3 * RECORD))
    journal.device.flash[:] = fill
    assert journal.mount() is None
    assert journal.write(payload(1)) == 0 and journal.mount() == payload(1)
