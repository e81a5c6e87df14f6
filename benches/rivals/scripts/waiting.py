"""What tasks wait for: time, and requests."""

import asyncio
import os
import socket
import sys
import time

from measuring import NS, Countdown, Meter, detach, p50_p99, repeat, repeated, sampled

# Timers. What is made and dropped is the loop's own, `call_later`: a sleep can only be dropped with its task.

CHURNED = 30.0


async def churn(timers):
    loop = asyncio.get_running_loop()
    for n in range(timers):
        loop.call_later(CHURNED, never).cancel()
        if n % 50 == 0:
            await asyncio.sleep(0)


def never():
    raise AssertionError("a cancelled timer fired")


async def sleepers(kept):
    tasks = 1_000
    countdown = Countdown(tasks)

    async def one(n):
        countdown.count()
        await asyncio.sleep(20.0 + n / 1e3)

    for n in range(tasks):
        detach(kept, one(n))
    await countdown.zero


@repeated
async def timer_alone(meter):
    timers = 10_000
    meter.start()
    await churn(timers)
    meter.stop(timers)


@sampled
async def timer_live(plan):
    kept = set()
    await sleepers(kept)
    return await repeat(plan, timer_alone)


@sampled
async def timer_shared(plan):
    kept = set()
    await sleepers(kept)

    async def round(meter):
        tasks, timers = 100, 1_000
        countdown = Countdown(tasks)

        async def one():
            await churn(timers)
            countdown.count()

        meter.start()
        for _ in range(tasks):
            detach(kept, one())
        await countdown.zero
        meter.stop(tasks * timers)

    return await repeat(plan, round)


@repeated
async def timeout_ready(meter):
    timeouts = 10_000

    async def ready(n):
        return n

    meter.start()
    for n in range(timeouts):
        async with asyncio.timeout(CHURNED):
            assert await ready(n) == n
    meter.stop(timeouts)


@sampled
async def sleep_1ms(plan):
    asleep, late, meter = 1e-3, [], Meter()
    meter.start()
    begun = time.perf_counter()
    while time.perf_counter() - begun < plan.time:
        now = time.perf_counter()
        await asyncio.sleep(asleep)
        late.append(time.perf_counter() - now - asleep)
    meter.stop(len(late))
    return p50_p99(meter, late)


@sampled
async def sleep_storm(plan):
    sleeps, lead, spread, stride, kept = 100_000, 0.5, 1.0, 7_919, set()
    late, meter = [0.0] * sleeps, Meter()
    countdown = Countdown(sleeps)

    async def one(n, until):
        await asyncio.sleep(max(until - time.perf_counter(), 0.0))
        late[n] = time.perf_counter() - until
        countdown.count()

    meter.start()
    first = time.perf_counter() + lead
    for n in range(sleeps):
        detach(kept, one(n, first + spread * (n * stride % sleeps) / sleeps))
    await countdown.zero
    meter.stop(sleeps)
    return p50_p99(meter, late)


# Serving, by a protocol: the quickest of asyncio's ways, and the one that uvloop recommends.


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.transport.write(data)


async def echo(plan, connections):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    times = (str(round(seconds * 1e3)) for seconds in (plan.warm_up, plan.time))
    load = await asyncio.create_subprocess_exec(
        os.environ["RIVALS_PROGRAM"],
        *("load", "echo", f"{host}:{port}", str(connections), str(connections), *times),
        stdout=asyncio.subprocess.PIPE,
    )
    meter = Meter()
    if await load.stdout.readline() != b"counting\n":
        sys.exit("the load generator did not begin")
    meter.start()
    counted = (await load.stdout.readline()).split()
    if len(counted) != 4:
        sys.exit("the load generator gave up")
    requests, ns, p50, p99 = int(counted[0]), int(counted[1]), float(counted[2]), float(counted[3])
    meter.stop(requests)
    await load.wait()
    server.close()
    return meter.sample(requests * NS / ns, p50, p99)


@sampled
async def echo_64(plan):
    return await echo(plan, 64)


@sampled
async def echo_1000(plan):
    return await echo(plan, 1_000)
