"""examples/monitor: the portable core. Numbers, lines, order of cycles, forecasts as the reference, Bluetooth."""

from __future__ import annotations

import ctypes
import functools
import random
import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_device import EEPROM, FLASH, HALVES, PAGES, RAM, Device, capacities, checked, raw, reference, unchecked

pytestmark = pytest.mark.needs("gcc")
GAP = 100  # cycles that a line may stand in for
END = 13_108


@pytest.fixture
def device() -> Device:
    return Device()


def fed(device: Device, values: list[str], first: int = 1, name: str = "cap") -> list[str]:
    """All lines that answer these values, a cycle each."""
    return [line for cycle, value in enumerate(values, first) for line in device.ask(f"{name} {cycle} {value}")]


# --- numbers ---


@functools.cache
def spare() -> Device:
    """One for the tests that hypothesis repeats."""
    return Device()


def decimal(text: str) -> int | None:
    value = ctypes.c_uint32(7)
    code = spare().c.decimal_read(text.encode("ascii"), ctypes.byref(value))
    assert code in (0, -1) and (code == 0 or value.value == 7)
    return value.value if code == 0 else None


@given(st.integers(0, 9999), st.text("0123456789", max_size=9))
def test_decimals_are_read_exactly(whole: int, places: str) -> None:
    text = f"{whole}.{places}"
    nearest = int(Fraction(text if places else str(whole)) * 10**7 + 5) // 10  # halves up, by the seventh place
    assert decimal(text) == (nearest if nearest < 2**32 else None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 10**6), (".5", 500_000), ("4294.967295", 2**32 - 1), ("0.9866", 986_600), ("007.10", 7_100_000)],
)
def test_decimals(text: str, value: int) -> None:
    assert decimal(text) == value


@pytest.mark.parametrize(
    "text",
    ["", ".", "-1", "+1", "1e3", "1,5", "1.2.3", " 1", "1 ", "0x1", "nan", "4294.967296", "4294.9672955", "9" * 12],
)
def test_what_is_no_decimal_is_refused(text: str) -> None:
    assert decimal(text) is None


@given(st.integers(0, 1_640_000), st.integers(900_000, 5_000_000))
def test_capacity_becomes_soh_to_the_nearest(capacity: int, nominal: int) -> None:
    device = spare()
    device.clear()
    assert device.ask(f"nominal {nominal / 1e6:.6f}") == ["ok nominal"]
    nearest = int(Fraction(capacity, nominal) * 2**14 + Fraction(1, 2))
    (answer,) = device.ask(f"cap 1 {capacity / 1e6:.6f}")
    assert answer == (f"ok 1 q14={nearest} missing=9" if nearest <= 24_576 else "error range 1 need=1")


# --- forecasts ---


@pytest.mark.parametrize("name", ["cap", "soh"])
def test_a_life_is_what_the_reference_computes(device: Device, name: str) -> None:
    """Every integer of every line; a life with a cycle that was measured badly."""
    values = capacities()
    if name == "soh":
        values = [f"{float(value) / 1.1:.5f}" for value in values]
    integers = [raw(value) if name == "cap" else raw(value, "1") for value in values]
    expected = []
    forecasts = {count: rest for count, *rest in reference(integers)}
    for cycle, value in enumerate(integers, 1):
        if cycle in forecasts:
            outputs, trust = forecasts[cycle]
            below = [t for t, q in enumerate(outputs, 1) if q / 2**14 < 0.8]
            expected += [
                f"forecast {cycle} q14={','.join(map(str, outputs))}",
                f"trust {cycle} q14={','.join(map(str, trust))}",
            ]
            expected += [f"remaining {cycle} {below[0] if below else '>100'}"]
        expected += [f"ok {cycle} q14={value} missing={-cycle % 10}"]
    assert fed(device, values, name=name) == expected
    assert len(forecasts) == len(values) // 10 > 40
    assert any(line.startswith("remaining") and ">" not in line for line in expected)


def test_a_forecast_can_be_asked_for_again(device: Device) -> None:
    assert device.ask("forecast") == ["error none"]
    *said, _ = fed(device, capacities()[:10])[-4:]
    assert device.ask("forecast") == [*said, "ok forecast"]
    fed(device, capacities()[10:15], 11)
    assert device.ask("forecast") == [*said, "ok forecast"]


# --- order ---


def test_a_cycle_that_comes_twice_counts_once(device: Device) -> None:
    values = capacities()[:40]
    twice = [line for cycle, value in enumerate(values, 1) for _ in "ab" for line in device.ask(f"cap {cycle} {value}")]
    assert [line for line in twice if "duplicate" not in line] == fed(Device(), values)
    assert twice[1] == f"ok 1 q14={raw(values[0])} missing=9 duplicate"


def test_gaps_and_cycles_of_the_past_are_refused(device: Device) -> None:
    values = capacities()[:30]
    expected = fed(Device(), values)
    got = fed(device, values[:15])
    assert device.ask(f"cap 17 {values[16]}") == ["error gap 17 need=16"]
    assert device.ask(f"cap 14 {values[13]}") == ["error old 14 need=16"]
    assert device.ask(f"cap 4294967295 {values[13]}") == ["error range 4294967295 need=16"]
    assert got + fed(device, values[15:], 16) == expected


@pytest.mark.parametrize("gap", [1, 3, 10, 37, GAP])
def test_a_line_fills_a_gap_where_that_is_asked_for(device: Device, gap: int) -> None:
    values = capacities()[:150]
    fed(device, values[:15])
    start, end = raw(values[14]), raw(values[15 + gap])
    line = [start + int(Fraction((end - start) * i, gap + 1)) for i in range(1, gap + 1)]  # towards the start
    cycle = 16 + gap
    *said, last = device.ask(f"cap {cycle} {values[15 + gap]} fill")
    assert last == f"ok {cycle} q14={end} missing={-cycle % 10} filled={gap}"
    expected = [found for found in reference([*map(raw, values[:15]), *line, end]) if found[0] > 15]
    assert [said_line.split()[1] for said_line in said] == [str(expected[-1][0])] * 3 if expected else said == []
    if expected:
        assert said[0].endswith(" q14=" + ",".join(map(str, expected[-1][1])))


def test_no_line_is_longer_than_a_hundred_cycles(device: Device) -> None:
    fed(device, capacities()[:15])
    assert device.ask(f"cap {16 + GAP + 1} 1.0 fill") == [f"error gap {16 + GAP + 1} need=16"]
    assert device.ask("cap 16 1.0 fill") == [f"ok 16 q14={raw('1.0')} missing=4"]


def test_a_life_may_begin_in_its_middle(device: Device) -> None:
    assert device.start()[-1] == checked("need 1")
    assert device.ask("cap 312 1.05")[-1].startswith("ok 312 ")
    assert device.ask("status")[1].startswith("status cycles=1 first=312 last=312 ")


@pytest.mark.parametrize("value", ["1.651", "9", "4294"])
def test_what_is_no_state_of_health_is_refused(device: Device, value: str) -> None:
    assert device.ask(f"cap 1 {value}") == ["error range 1 need=1"]
    assert device.ask("cap 1 1.65") == ["ok 1 q14=24576 missing=9"]


def test_the_nominal_capacity_is_set_before_a_life(device: Device) -> None:
    assert device.ask("nominal 0") == ["error range"]
    assert device.ask("nominal x") == ["error number"]
    assert device.ask("nominal 2.6") == ["ok nominal"]
    assert device.ask("cap 1 2.5") == [f"ok 1 q14={raw('2.5', '2.6')} missing=9"]
    assert device.ask("nominal 2.5") == ["error locked"]
    assert device.ask("nominal 2.6") == ["ok nominal"]
    assert device.ask("reset") == ["ok reset"]
    assert " nominal=2.600000 " in device.ask("status")[1]
    assert device.ask("nominal 2.5") == ["ok nominal"]


def test_reset_begins_a_new_cell(device: Device) -> None:
    values = capacities()[:60]
    fed(device, values[:57])
    device.ask("reset")
    assert fed(device, values) == fed(Device(), values)


# --- lines ---


def test_a_checksum_is_checked_where_there_is_one(device: Device) -> None:
    line = checked("cap 1 1.05")
    assert device.ask(line.lower()) == [f"ok 1 q14={raw('1.05')} missing=9"]
    for bad in (line.replace("5*", "6*"), f"{line}0", line[:-1], line[:-2], "cap 2 1.05*G0", f"{line}*00"):
        assert device.ask(bad) == ["error checksum"], bad


def test_checksums_can_be_demanded(device: Device) -> None:
    assert device.ask("check on") == ["ok check"]
    assert device.ask("cap 1 1.05") == ["error checksum"]
    assert device.ask(checked("cap 1 1.05"))[0].startswith("ok 1 ")
    assert device.ask(checked("check off")) == ["ok check"]
    assert device.ask("cap 2 1.05")[0].startswith("ok 2 ")


@given(st.data())
def test_one_wrong_character_is_always_noticed(data: st.DataObject) -> None:
    device = spare()
    device.clear()
    device.ask("check on")
    line = checked(f"cap {data.draw(st.integers(0, 5000))} 1.{data.draw(st.integers(0, 9999)):04}")
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: chr(byte) not in f"{line[at]}{line[at].swapcase()}\r\n"))
    device.receive(line[:at].encode() + bytes([other]) + line[at + 1 :].encode() + b"\n")
    assert [unchecked(each) for each in device.sent().decode("ascii").splitlines()] == ["error checksum"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("hello", "error command"), ("cap", "error command"), ("cap 1", "error command"),
        ("cap 1 2 3", "error command"),
        ("cap 1 1.0 fill x", "error command"), ("a b c d e", "error command"), ("status x", "error command"),
        ("cap x 1.0", "error number"), ("cap 1 x", "error number"), ("cap -1 1.0", "error number"),
        ("cap 4294967296 1.0", "error number"), ("check maybe", "error command"), ("CAP 1 1.0", "error command"),
        ("x" * 48, "error command"), ("x" * 49, "error long"), ("x" * 5000, "error long"), ("statu", "error command"),
        ("statuss", "error command"), ("cap\t1 1.0", "error command"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said_and_changes_nothing(device: Device, line: str, answer: str) -> None:
    assert device.ask(line) == [answer]
    assert device.ask("cap 1 1.05") == [f"ok 1 q14={raw('1.05')} missing=9"]


def test_lines_end_as_every_terminal_ends_them(device: Device) -> None:
    device.receive(b"\r\n\n  \ncap 1 1.05\r\ncap  2  1.05 \rcap 3 1.05\n")
    answers = [unchecked(line)[:4] for line in device.sent().decode("ascii").splitlines()]
    assert answers == ["ok 1", "ok 2", "ok 3"]


def test_noise_is_harmless(device: Device) -> None:
    """Whatever comes: answers are whole lines, and afterwards the device works."""
    draw = random.Random(1)
    alphabet = b"cap soh0123456789.*\n\r\0\xff reset check on off fill nominal status forecast"
    for _ in range(300):
        device.receive(bytes(draw.choice(alphabet) for _ in range(draw.randrange(60))))
        for line in device.sent().decode("ascii").splitlines():
            unchecked(line)
    device.receive(b"\n")
    device.sent()
    for line in ("check off", "reset", "cap 1 1.0"):
        answer = device.ask(checked(line))
    assert answer[-1].startswith("ok 1 ")


def test_one_answer_ends_each_command(device: Device) -> None:
    commands = [
        "status",
        "forecast",
        "check off",
        "nominal 1.1",
        *(f"cap {i} 1.05" for i in range(1, 25)),
        "cap 99 1.0",
        "forecast",
        "x",
    ]
    for command in commands:
        said = device.ask(command)
        assert [line.split()[0] in ("ok", "error") for line in said] == [False] * (len(said) - 1) + [True]


# --- power on ---


@pytest.mark.parametrize(("memory", "name"), [(PAGES, "flash"), (HALVES, "eeprom"), ((RAM, 0, 0), "ram")])
def test_it_says_where_the_state_is_kept(memory: tuple[int, int, int], name: str) -> None:
    device = Device(memory)
    status = f"status cycles=0 first=0 last=0 nominal=1.100000 saved=0 storage={name}"
    assert device.start() == [checked("ready soh-monitor 1"), checked(status), checked("need 1")]


@pytest.mark.parametrize("memory", [PAGES, HALVES])
def test_after_power_on_it_goes_on_from_the_last_block(memory: tuple[int, int, int]) -> None:
    """The last forecast is there again, and what follows is as without the interruption, to the last bit."""
    values = capacities()
    expected = fed(Device(), values)
    device = Device(memory)
    said: list[str] = []
    lost = random.Random(2)
    cycle = 1
    while cycle <= len(values):
        said = [line for line in said if int(line.split()[1]) < cycle] + device.ask(f"cap {cycle} {values[cycle - 1]}")
        cycle += 1
        if lost.random() < 0.05:
            shown = [unchecked(line) for line in device.start()]
            block = (cycle - 1) // 10 * 10
            assert shown[-1] == f"need {block + 1}"
            assert shown[2:-1] == [line for line in expected if line.split()[1] == str(block)][:3]
            said = [line for line in said if int(line.split()[1]) <= block]
            cycle = block + 1
            device.ask(f"cap {block} 1.0")  # a duplicate, whatever its value
    assert said == expected


def test_without_a_memory_it_asks_for_everything() -> None:
    device = Device((RAM, 0, 0))
    fed(device, capacities()[:50])
    assert device.start()[-1] == checked("need 1")


def test_a_reset_outlives_power(device: Device) -> None:
    device.ask("nominal 2.6")
    fed(device, ["2.5"] * 30)
    device.ask("reset")
    shown = device.start()
    assert " nominal=2.600000 " in shown[1] and shown[-1] == checked("need 1")


def test_a_memory_of_another_model_is_not_taken_up(device: Device) -> None:
    """Only the nominal capacity is: it belongs to the cell."""
    device.ask("nominal 2.6")
    fed(device, ["2.5"] * 30)
    for at in np.flatnonzero(device.flash[:-4] == ord("L")):
        if bytes(device.flash[at : at + 4]) == b"LNNS":
            record = at - 16 - 8
            device.flash[at + 9] ^= 1  # the model's id
            covered = bytes(device.flash[record : record + 8 + 416])
            device.flash[record + 424 : record + 428] = list(struct.pack("<I", zlib.crc32(covered)))
    shown = device.start()
    assert " nominal=2.600000 " in shown[1] and shown[-1] == checked("need 1")


def test_a_memory_that_fails_is_told_and_does_not_stop_it(device: Device) -> None:
    device.power(100)
    *_, last = fed(device, capacities()[:10])
    assert last.endswith("missing=0 unsaved")
    assert " saved=0 storage=failed" in device.ask("status")[1]
    assert fed(device, capacities()[10:12], 11)[-1].startswith("ok 12 ")


# --- Bluetooth values ---


def test_bluetooth_says_what_serial_says(device: Device) -> None:
    values = capacities()[:456]
    by_line = {line.split()[0]: line for line in fed(Device(), values)}
    for cycle, value in enumerate(values, 1):
        micro = round(float(value) * 1_000_000)
        assert device.write(1, struct.pack("<BII", 0, cycle, micro)) == 0
    blocks = [device.value(4, block) for block in range(15)]
    assert max(map(len, blocks)) == 20 and [(block[4], block[5]) for block in blocks] == [(i, 15) for i in range(15)]
    assert {struct.unpack("<I", block[:4]) for block in blocks} == {(450,)}
    integers = np.frombuffer(b"".join(block[6:] for block in blocks), "<i2")
    assert by_line["forecast"] == "forecast 450 q14=" + ",".join(map(str, integers))
    assert by_line["trust"] == "trust 450 q14=" + ",".join(map(str, struct.unpack("<I4h", device.value(5))[1:]))
    assert by_line["remaining"] == "remaining 450 {1}".format(*struct.unpack("<IB", device.value(6)))
    layout, result, flags, missing, first, last, value, unsaved, nominal = struct.unpack("<4BIIhHI", device.value(3, 3))
    assert (layout, result, flags, missing, first, last) == (1, 3, FLASH << 4 | 3, 4, 1, 456)
    assert (value, unsaved, nominal) == (raw(values[-1]), 6, 1_100_000)


def test_before_a_forecast_bluetooth_has_none(device: Device) -> None:
    assert device.value(4, 0) == bytes(6)
    assert device.value(6) == bytes(5)
    assert device.value(3)[2] == FLASH << 4
    assert Device(HALVES).value(3)[2] == EEPROM << 4


@pytest.mark.parametrize(
    ("characteristic", "data", "result"),
    [
        (1, struct.pack("<BII", 0, 6, 10**6), 0), (1, struct.pack("<BII", 1, 6, 9 * 10**5), 0),
        (1, struct.pack("<BII", 0x80, 16, 10**6), 0), (1, struct.pack("<BII", 0, 5, 10**6), 1),
        (1, struct.pack("<BII", 0, 3, 10**6), 2), (1, struct.pack("<BII", 0, 8, 10**6), 3),
        (1, struct.pack("<BII", 0, 6, 10**7), 4), (1, struct.pack("<BII", 2, 6, 10**6), 255), (1, b"", 255),
        (1, bytes(8), 255), (1, bytes(10), 255), (2, b"\1", 0), (2, b"\2", 0), (2, struct.pack("<BI", 3, 2 * 10**6), 5),
        (2, b"\3", 255), (2, b"\2\0", 255), (2, b"\0", 255), (2, b"", 255),
    ],
)  # fmt: skip
def test_what_is_written_has_a_result(device: Device, characteristic: int, data: bytes, result: int) -> None:
    fed(device, ["1.05"] * 5)
    before = device.value(3)
    assert device.write(characteristic, data) == result
    changed = device.value(3) != before
    assert changed == (result == 0 and data != b"\1")
