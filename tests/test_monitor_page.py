"""examples/monitor/index.html in a real browser, against the monitor's C at the other end of a faulty line.

What is drawn are the integers that the firmware sent: read back from the coordinates of the curves, by the axes' ticks.
"""

from __future__ import annotations

import importlib
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_device import HALVES, Device, capacities, checked, raw, reference
from monitor_peer import BluetoothPeer, SerialPeer

pytestmark = pytest.mark.needs("gcc", "chromium", "playwright")
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "monitor"
PAGE = FOLDER / "index.html"
PICTURE = ROOT / "docs" / "monitor.png"
FAKES = Path(__file__).resolve().parent / "fake_links.js"
SIZE = (1180, 890)
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    import shutil

    sync_api = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open the page with peers behind its links. Afterwards: nothing was complained of, nothing was fetched."""
    context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}, device_scale_factor=1)
    complaints: list[str] = []
    requests: list[str] = []

    def open_page(serial: object = None, bluetooth: object = None, *, fakes: str = "", at: str = "") -> Any:
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        for name, peer in (("serialPeer", serial), ("bluetoothPeer", bluetooth)):
            if peer is not None:
                page.expose_binding(name, peer)
        page.add_init_script(fakes or FAKES.read_text(encoding="utf-8"))
        page.goto(PAGE.as_uri() + at)
        return page

    yield open_page
    context.close()
    assert complaints == []
    assert {url.partition("#")[0] for url in requests} <= {PAGE.as_uri(), "data:,"}


def table(values: list[str], first: int = 1) -> dict[str, object]:
    """A file as a browser's user chooses one."""
    rows = "".join(f"{cycle},{value}\n" for cycle, value in enumerate(values, first))
    return {"name": "cell.csv", "mimeType": "text/csv", "buffer": f"cycle,capacity\n{rows}".encode("ascii")}


def connect(page: Any, button: str = "#serial") -> None:
    page.click(button)
    page.wait_for_selector("#state[data-state=open]")


def feed(page: Any, values: list[str], first: int = 1) -> None:
    page.set_input_files("#csv", table(values, first))
    wait(page, f"monitor.model.last?.cycle === {first + len(values) - 1}")
    settle(page)


def wait(page: Any, condition: str, seconds: float = 30) -> None:
    """Until this is true. The page's policy forbids `eval`, which playwright's own way of waiting takes."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.inner_text("body"))
        page.wait_for_timeout(40)


def settle(page: Any) -> None:
    page.wait_for_selector("#stop", state="hidden")
    wait(page, "monitor.settled")


def axis(page: Any, ticks: str, coordinate: str) -> tuple[float, float]:
    """(value at 0, value for a pixel) by the labels of an axis, as somebody reads it who knows no code of the page."""
    read = f"ticks => ticks.map(t => [Number(t.getAttribute('{coordinate}')), Number(t.textContent)])"
    at, value = np.array(page.eval_on_selector_all(ticks, read)).T
    slope, start = np.polyfit(at, value, 1)
    assert np.abs(start + slope * at - value).max() < 1e-3
    return float(start), float(slope)


def drawn(page: Any, curve: str) -> tuple[list[int], np.ndarray]:
    """Cycles and Q14 values of a curve, from its coordinates."""
    points = page.eval_on_selector(f"polyline.{curve}", "line => line.getAttribute('points')")
    x, y = np.array([point.split(",") for point in points.split()], np.float64).T
    x0, dx = axis(page, "text.tick-x", "x")
    y0, dy = axis(page, "text.tick-y", "y")
    # A label stands 4 pixels lower than its line. Q14 of percent.
    return np.rint(x0 + dx * x).astype(int).tolist(), (y0 + dy * (y + 4)) / 100 * 2**14


def pixel(page: Any) -> float:
    """How much of Q14 a hundredth of a pixel is, to which coordinates are written."""
    return abs(axis(page, "text.tick-y", "y")[1]) / 100 * 2**14 / 100


# --- what is drawn ---


def test_the_curves_are_the_integers_that_the_firmware_sent(open_page: Open, update_golden: bool) -> None:
    """An invented cell, near its end; the board knows a part, the rest comes from a file. Makes docs/monitor.png."""
    values, peer = capacities(2, 16)[:545], SerialPeer(Device())
    for cycle, value in enumerate(values[:460], 1):
        peer.device.ask(f"cap {cycle} {value}")
    page = open_page(peer)
    connect(page)
    feed(page, values)
    forecast = peer.integers("forecast")
    outputs = [outputs for _, outputs, _ in reference([raw(value) for value in values])][-1]
    assert forecast == outputs
    assert page.evaluate("monitor.model.forecast.q14") == forecast
    for curve, first, integers in (("forecast", 541, forecast), ("history", 1, [raw(value) for value in values])):
        cycles, q14 = drawn(page, curve)
        assert cycles == list(range(first, first + len(integers)))
        assert np.abs(q14 - integers).max() < pixel(page)
    left = int(peer.last("remaining").split()[2])
    assert forecast[left - 1] / 2**14 < 0.8 <= forecast[left - 2] / 2**14
    assert page.inner_text("#remaining") == str(left)
    assert page.text_content("text.crossing") == f"cycle {540 + left}"
    at = float(page.get_attribute("circle.crossing", "cx"))
    start, slope = axis(page, "text.tick-x", "x")
    assert round(start + slope * at) == 540 + left
    shares = [f"{q / 2**14 * 100:.0f} %" for q in peer.integers("trust")]
    assert page.eval_on_selector_all("#trust output", "all => all.map(e => e.textContent)") == shares
    assert "kept in\nflash" in page.inner_text("#cell")
    show(page, update_golden)


def show(page: Any, update: bool) -> None:
    """The picture of the documentation: rewritten when that is asked for, for pixels differ between machines."""
    page.check("#naive")
    settle(page)
    if update:
        page.screenshot(path=str(PICTURE))
    assert page.evaluate("document.documentElement.scrollHeight") <= SIZE[1]
    assert struct.unpack(">II", PICTURE.read_bytes()[16:24]) == SIZE


def test_a_forecast_that_stays_above_says_so(open_page: Open) -> None:
    page = open_page(SerialPeer(Device()))
    connect(page)
    assert page.inner_text("#remaining") == "–"
    feed(page, capacities()[:20])
    assert page.inner_text("#remaining") == ">100"
    assert "it stays above 80 % for 100 cycles" in page.inner_text("#remaining-note")
    assert "Only 20 cycles were seen" in page.inner_text("#remaining-note")
    assert page.query_selector("circle.crossing") is None


# --- a faulty line ---


def worn(every: int, byte: int) -> Callable[[int, bytes], bytes]:
    """Every so many lines one byte is another one."""

    def mangle(number: int, line: bytes) -> bytes:
        if number % every or len(line) < 6:
            return line
        return line[: byte % (len(line) - 3)] + b"#" + line[byte % (len(line) - 3) + 1 :]

    return mangle


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"chunk": 1}, id="byte by byte"),
        pytest.param({"chunk": 7}, id="in sevens"),
        pytest.param({"says": worn(5, 9)}, id="answers damaged"),
        pytest.param({"hears": worn(4, 6)}, id="commands damaged"),
        pytest.param({"says": worn(7, 300), "hears": worn(6, 2), "chunk": 64}, id="both"),
    ],
)
def test_damaged_lines_are_noticed_and_said_again(open_page: Open, faults: dict[str, Any]) -> None:
    values, peer = capacities()[:35], SerialPeer(Device(), **faults)
    page = open_page(peer)
    connect(page)
    feed(page, values)
    assert page.evaluate("monitor.model.history.map(p => [p.cycle, p.q14])") == [
        [i, raw(v)] for i, v in enumerate(values, 1)
    ]
    outputs = [outputs for _, outputs, _ in reference([raw(value) for value in values])][-1]
    assert page.evaluate("monitor.model.forecast.q14") == outputs
    assert (page.evaluate("monitor.model.corrupted") > 0) == ("says" in faults)
    assert page.is_hidden("#message")


def test_a_lost_board_is_told_and_taken_up_again(open_page: Open) -> None:
    """The cable is pulled at cycle 37: the board goes on from cycle 31, and the page feeds it the rest."""
    values, peer = capacities()[:80], SerialPeer(Device(HALVES), vanish_at=4 + 37)
    page = open_page(peer)
    connect(page)
    page.set_input_files("#csv", table(values))
    page.wait_for_selector("#state[data-state=lost]")
    assert "The board has gone" in page.inner_text("#message")
    assert page.is_visible("#serial") and page.is_disabled("#capacity")
    connect(page)
    assert page.evaluate("monitor.model.need") == 31
    assert page.evaluate("monitor.model.forecast.cycle") == 30
    feed(page, values)
    outputs = [outputs for _, outputs, _ in reference([raw(value) for value in values])][-1]
    assert page.evaluate("monitor.model.forecast.q14") == outputs
    assert page.evaluate("monitor.model.history.length") == 80


def test_a_board_that_is_no_monitor(open_page: Open) -> None:
    page = open_page(lambda source, data: {"chunks": [], "vanish": False})
    page.click("#serial")
    page.wait_for_selector("#message:visible", timeout=15_000)
    assert "does not answer" in page.inner_text("#message")
    assert page.is_visible("#serial")


def test_a_busy_port(open_page: Open) -> None:
    page = open_page(SerialPeer(Device()))
    page.evaluate("window.portIsBusy = true")
    page.click("#serial")
    page.wait_for_selector("#message:visible")
    assert "port is in use" in page.inner_text("#message")


def test_a_browser_without_the_interfaces(open_page: Open) -> None:
    page = open_page(fakes="delete Navigator.prototype.serial; delete Navigator.prototype.bluetooth;")
    for button in ("serial", "bluetooth"):
        page.click(f"#{button}")
        assert f"Web {button.capitalize()} is not to be had" in page.inner_text("#message")


# --- commands ---


def test_gaps_are_told_and_filled_when_that_is_asked_for(open_page: Open) -> None:
    page = open_page(SerialPeer(Device()))
    connect(page)
    feed(page, capacities()[:12])
    page.set_input_files("#csv", table(capacities()[15:20], 16))
    page.wait_for_selector("#message:visible")
    assert "Cycle 16 was refused: cycle 13 has to come first" in page.inner_text("#message")
    page.check("#fill")
    feed(page, capacities()[15:20], 16)
    assert page.is_hidden("#message")


def test_by_hand(open_page: Open) -> None:
    peer = SerialPeer(Device())
    page = open_page(peer)
    connect(page)
    page.fill("#nominal", "2.6")
    page.click("#settings button")
    wait(page, "monitor.model.status.nominal === 2.6")
    page.fill("#cycle", "1")
    page.fill("#capacity", "2.5")
    page.click("#feed button")
    wait(page, "monitor.model.last?.cycle === 1")
    assert peer.last("ok") == f"ok 1 q14={raw('2.5', '2.6')} missing=9"
    page.fill("#nominal", "2.5")
    page.click("#settings button")
    page.wait_for_selector("#message:visible")
    assert "Begin a new cell first" in page.inner_text("#message")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#reset")
    wait(page, "monitor.model.status?.cycles === 0 && monitor.model.history.length === 0")
    page.click("#close")
    page.wait_for_selector("#state[data-state=closed]")
    connect(page)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,1.05\n2;1.05\nthree,1.05\n", "Line 3 of the file"),
        ("1,1.05\n3,1.05\n2,1.05\n", "2 follows 3"),
        ("cycle,capacity\n", "holds no line"),
    ],
)
def test_files_that_cannot_be_read(open_page: Open, text: str, told: str) -> None:
    peer = SerialPeer(Device())
    page = open_page(peer)
    connect(page)
    page.set_input_files("#csv", {"name": "x.csv", "mimeType": "text/csv", "buffer": text.encode("ascii")})
    page.wait_for_selector("#message:visible")
    assert told in page.inner_text("#message")
    assert page.evaluate("monitor.model.need") == 1


# --- Bluetooth ---


def test_bluetooth_draws_the_same(open_page: Open) -> None:
    values, device = capacities()[:124], Device()
    page = open_page(bluetooth=BluetoothPeer(device))
    connect(page, "#bluetooth")
    feed(page, values)
    outputs, trust = [rest for _, *rest in reference([raw(value) for value in values])][-1]
    assert page.evaluate("monitor.model.forecast.q14") == outputs
    assert page.evaluate("monitor.model.trust.q14") == trust
    cycles, q14 = drawn(page, "forecast")
    assert cycles == list(range(121, 221)) and np.abs(q14 - outputs).max() < pixel(page)
    page.set_input_files("#csv", table(["1.0"], 126))
    page.wait_for_selector("#message:visible")
    assert "Cycle 126 was refused: cycle 125 has to come first" in page.inner_text("#message")
    page.evaluate("monitor.link.server.disconnect()")
    page.wait_for_selector("#state[data-state=lost]")
    connect(page, "#bluetooth")
    assert page.evaluate("[monitor.model.need, monitor.model.forecast.cycle]") == [125, 120]


# --- the demo ---


def test_the_demo_is_what_the_firmware_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python examples/monitor/record.py examples/monitor/index.html` makes it again."""
    monkeypatch.syspath_prepend(str(FOLDER))
    record = importlib.import_module("record")
    found = record.PLACE.search(PAGE.read_text(encoding="utf-8"))
    assert found and found[0] == found[1] + record.record() + found[2]


def test_the_demo_plays_to_its_end(open_page: Open) -> None:
    page = open_page(at="#demo")
    wait(page, "monitor.model.last?.cycle > 3")
    page.click("#pause")
    page.evaluate("monitor.link.advance(100000)")
    settle(page)
    lines = PAGE.read_text(encoding="utf-8").partition('id="recording">\n')[2].splitlines()
    last = [line for line in lines if line.startswith("forecast ")][-1].partition("*")[0]
    assert page.evaluate("monitor.model.forecast.q14") == [int(q) for q in last.partition("q14=")[2].split(",")]
    cycles, q14 = drawn(page, "forecast")
    assert np.abs(q14 - page.evaluate("monitor.model.forecast.q14")).max() < pixel(page)
    page.click("#restart")
    wait(page, "monitor.model.last?.cycle < 300")


# --- the page itself ---


def test_the_page_checks_lines_as_the_firmware_does(open_page: Open) -> None:
    page = open_page()
    line = checked("remaining 450 17")
    assert page.evaluate("line => withSum(line)", "remaining 450 17") == line
    assert page.evaluate("line => parseLine(line).left", line) == 17
    for bad in (line[:-1], line.replace("17*", "18*"), "remaining 450 17", "*"):
        assert page.evaluate("line => { try { parseLine(line); return false } catch { return true } }", bad), bad


def test_the_page_is_one_file() -> None:
    text = PAGE.read_text(encoding="utf-8")
    page = text.partition('id="recording">')[0]
    assert "default-src 'none'" in page and "innerHTML" not in page
    links = [word for word in ("src=", "@import", "url(", "fetch(", "import ") if word in page]
    assert links == []
    assert page.count("http") == page.count("http-equiv") + page.count("http://www.w3.org/2000/svg") + page.count(
        "from https"
    )
