"""A worker's lease on what it works on: renewed while it lives, and how others see that it does not."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

LEASE = "lease"


class Lease:
    """Renews an attribute every `beat` seconds, from a thread, for as long as the block runs.

    Args:
        write: stores an attribute, (name, value).
    """

    def __init__(self, write: Callable[[str, Any], None], beat: float) -> None:
        self.write, self.beat = write, beat
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._renew, daemon=True)

    @staticmethod
    def worker_id() -> str:
        """Machine, process, and when it was started: no other process ever has the same."""
        return f"{machine()} {os.getpid()} {started(os.getpid())}"

    def __enter__(self) -> Lease:
        self._beat(0)
        self.thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.over.set()
        self.thread.join()

    def _renew(self) -> None:
        number = 1
        while not self.over.wait(self.beat):
            try:
                self._beat(number)
            except Exception:  # the trial was given to another, or the storage is away: the worker will hear of it
                return
            number += 1

    def _beat(self, number: int) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self.write(LEASE, {"worker": self.worker_id(), "machine": machine(), "pid": os.getpid(),
                           "started": started(os.getpid()), "time": now, "beat": number})  # fmt: skip


class Watch:
    """Tells which leases are dead: the process is gone, or the lease did not change for `grace` seconds of our clock.

    Clocks of different machines are never compared.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.seen: dict[int, tuple[Any, float]] = {}  # number -> lease, when it was first seen so

    def is_lost(self, number: int, lease: Any) -> bool:
        """Whether the worker of this trial is dead; a trial that has no lease yet is given time too."""
        if isinstance(lease, dict) and lease.get("machine") == machine():
            return not alive(lease["pid"], lease["started"])
        now = time.monotonic()
        before, since = self.seen.get(number, (None, now))
        if before != lease:
            since = now
        self.seen[number] = (lease, since)
        return now - since > self.grace


def alive(pid: int, start: str) -> bool:
    """Whether the process that began then still runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, but it is there
        pass
    return started(pid) == start


def started(pid: int) -> str:
    """When a process was started, in the system's own ticks; "" where that cannot be told or it is a zombie.

    The 22nd field of /proc/PID/stat, proc(5); the name before it may hold spaces.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "zombie" if fields[0] == "Z" else fields[19]


@cache
def machine() -> str:
    """This machine since it was booted, and the process numbers that are valid here (a container has its own)."""
    parts = [socket.gethostname()]
    for read in (_boot, _namespace):
        try:
            parts.append(read())
        except OSError:
            parts.append("")
    return "/".join(parts)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
