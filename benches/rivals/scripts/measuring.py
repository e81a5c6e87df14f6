"""From a stopwatch to a sample, and the table of the workloads."""

import asyncio
import resource
import time
from dataclasses import dataclass, field

NS = 1_000_000_000


@dataclass
class Plan:
    warm_up: float
    time: float


def usage():
    raw = resource.getrusage(resource.RUSAGE_SELF)
    return int((raw.ru_utime + raw.ru_stime) * NS), raw.ru_nvcsw, raw.ru_nivcsw


@dataclass
class Meter:
    """A stopwatch that may be started and stopped many times."""

    ops: int = 0
    wall: int = 0
    usage: list = field(default_factory=lambda: [0, 0, 0])

    def start(self):
        self.since, self.before = time.perf_counter_ns(), usage()

    def stop(self, ops):
        self.wall += time.perf_counter_ns() - self.since
        pairs = zip(self.usage, self.before, usage())
        self.usage = [total + after - before for total, before, after in pairs]
        self.ops += ops

    def sample(self, *values):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        words = [",".join(map(repr, values)), self.ops, self.wall, *self.usage, peak]
        return " ".join(["rivals-sample", *map(str, words)])

    def ns_per_op(self):
        return self.sample(self.wall / self.ops)


async def repeat(plan, round):
    """Repeats a round, first to warm up, then to measure."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < plan.warm_up:
        await round(Meter())
    meter = Meter()
    while meter.wall < plan.time * NS:
        await round(meter)
    return meter.ns_per_op()


def p50_p99(meter, seconds):
    seconds = sorted(max(late, 0.0) for late in seconds)
    us = [seconds[int((len(seconds) - 1) * share + 0.5)] * 1e6 for share in (0.5, 0.99)]
    return meter.sample(*us)


WORKLOADS = {}


def sampled(workload):
    """A workload that takes its sample itself."""
    WORKLOADS[workload.__name__] = workload
    return workload


def repeated(round):
    """A workload that is one round, repeated."""
    WORKLOADS[round.__name__] = lambda plan: repeat(plan, round)
    return round


class Countdown:
    """Its future is done when it has been counted down."""

    def __init__(self, n):
        self.left = n
        self.zero = asyncio.get_running_loop().create_future()

    def count(self):
        self.left -= 1
        if self.left == 0:
            self.zero.set_result(None)


# The loop itself holds tasks weakly: whoever spawns has to keep them, as the documentation says.


def detach(kept, coroutine):
    task = asyncio.create_task(coroutine)
    kept.add(task)
    task.add_done_callback(kept.discard)
