"""What the machine is, and whether it was ours alone for a while."""

import os
import platform
import time
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


def fields(path, names):
    """The values of "name: value" lines, first of each."""
    found = {}
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            found.setdefault(key.strip(), value.strip())
    return found


def describe():
    cpu = fields("/proc/cpuinfo", ("model name", "flags", "cache size"))
    memory = fields("/proc/meminfo", ("MemTotal",))
    known = cpu.get("flags", "").split()
    return {
        "cpu": cpu.get("model name", platform.machine()),
        "cpus": os.cpu_count(),
        "vector": next((word for word in ("avx512f", "avx2", "avx") if word in known), "none of x86"),
        "cache": cpu.get("cache size", ""),
        "memory": memory.get("MemTotal", ""),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": os.getloadavg()[0],
    }


class Occupied:
    """Processor time on the CPUs of a comparison, by anybody."""

    def __init__(self, cpus):
        self.cpus = {f"cpu{cpu}" for cpu in cpus}

    def now(self):
        busy = 0.0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in self.cpus:
                user, nice, system, _idle, _wait, irq, softirq, steal, *_ = map(int, ticks)
                busy += (user + nice + system + irq + softirq + steal) * TICK
        return time.perf_counter(), busy

    def by_others(self, before, own):
        """The share of the CPUs' time since `before` that somebody else had; own: the program's processor seconds.

        Both are counted in ticks of 1/100 s, so a tick on each CPU is forgiven.
        """
        (start, busy), (end, busy_now) = before, self.now()
        foreign = busy_now - busy - own - len(self.cpus) * TICK
        return max(0.0, foreign) / (len(self.cpus) * (end - start))
