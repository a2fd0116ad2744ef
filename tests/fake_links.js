// Stands in for the browser's Web Serial and Web Bluetooth. What a page writes goes to Python, which has the monitor's
// C; what Python answers is delivered in the chunks that it chose. {vanish: true} pulls the cable.
(() => {
  let controller = null;
  const port = {
    readable: null,
    writable: null,
    async open({ baudRate }) {
      if (window.portIsBusy) throw new DOMException("Failed to open serial port.", "NetworkError");
      if (port.readable || baudRate !== 115200) throw new DOMException("not so", "InvalidStateError");
      port.readable = new ReadableStream({ start(c) { controller = c; } });
      port.writable = new WritableStream({
        async write(chunk) { deliver(await window.serialPeer(Array.from(chunk))); },
      });
      deliver(await window.serialPeer([]));
    },
    async close() {
      if (port.readable?.locked || port.writable?.locked) throw new TypeError("Cannot cancel a locked stream");
      port.readable = port.writable = null;
    },
  };

  function deliver({ chunks, vanish }) {
    for (const chunk of chunks) if (port.readable) controller.enqueue(new Uint8Array(chunk));
    if (vanish) {
      port.readable = null;
      controller.error(new DOMException("The device has been lost.", "NetworkError"));
    }
  }

  class Characteristic extends EventTarget {
    constructor(number) { super(); Object.assign(this, { number, listens: false }); }
    async startNotifications() { this.listens = true; }
    async writeValueWithResponse(view) {
      const bytes = Array.from(new Uint8Array(view.buffer));
      for (const [number, value] of await window.bluetoothPeer([this.number, bytes])) all[number].notify(value);
    }
    notify(bytes) {
      if (!this.listens) return;
      this.value = new DataView(new Uint8Array(bytes).buffer);
      this.dispatchEvent(new Event("characteristicvaluechanged"));
    }
  }
  const base = "-6c1e-4b7d-9f3a-2e8d41c7b605", all = [0, 1, 2, 3, 4, 5, 6].map((n) => new Characteristic(n));
  const device = new EventTarget();
  device.gatt = {
    async connect() { return this; },
    disconnect() { device.dispatchEvent(new Event("gattserverdisconnected")); },
    async getPrimaryService(uuid) {
      if (uuid !== `5a0f0000${base}`) throw new DOMException(`No service ${uuid}`, "NotFoundError");
      return { getCharacteristic: async (id) => all.find((each) => id === `5a0f000${each.number}${base}`) };
    },
  };
  const give = (name, value) => Object.defineProperty(Navigator.prototype, name, { get: () => value, configurable: true });
  give("serial", { requestPort: async () => port });
  give("bluetooth", { requestDevice: async () => device });
})();
