"""What tasks do to each other: spawn, switch, share, end."""

import asyncio

from measuring import WORKLOADS, Countdown, Meter, detach, repeat, repeated, sampled

# Spawning.


@repeated
async def spawn_local(meter):
    tasks, kept = 10_000, set()
    countdown = Countdown(tasks)

    async def one():
        countdown.count()

    meter.start()
    for _ in range(tasks):
        detach(kept, one())
    await countdown.zero
    meter.stop(tasks)


@repeated
async def spawn_join(meter):
    tasks = 10_000

    async def one(n):
        return n

    meter.start()
    for n in range(tasks):
        assert await asyncio.create_task(one(n)) == n
    meter.stop(tasks)


@repeated
async def chained_spawn(meter):
    depth, kept = 1_000, set()

    async def link(left):
        if left == 1:
            end.set_result(None)
        else:
            detach(kept, link(left - 1))

    meter.start()
    end = asyncio.get_running_loop().create_future()
    detach(kept, link(depth))
    await end
    meter.stop(depth)


# Switching. `yield` is a keyword, and is entered under its name by hand.


async def yields(meter):
    tasks, times, kept = 200, 1_000, set()
    countdown = Countdown(tasks)

    async def one():
        for _ in range(times):
            await asyncio.sleep(0)
        countdown.count()

    meter.start()
    for _ in range(tasks):
        detach(kept, one())
    await countdown.zero
    meter.stop(tasks * times)


WORKLOADS["yield"] = lambda plan: repeat(plan, yields)


@repeated
async def ping_pong(meter):
    pairs, kept = 1_000, set()
    countdown = Countdown(pairs)
    new_future = asyncio.get_running_loop().create_future

    async def answer(ping, pong):
        await ping
        pong.set_result(None)

    async def pair():
        ping, pong = new_future(), new_future()
        detach(kept, answer(ping, pong))
        ping.set_result(None)
        await pong
        countdown.count()

    async def spawn_pairs():
        for _ in range(pairs):
            detach(kept, pair())

    meter.start()
    detach(kept, spawn_pairs())
    await countdown.zero
    meter.stop(pairs)


# What tasks share.


async def channel(meter, producers):
    messages, capacity, kept = 100_000, 64, set()
    share = messages // producers
    sent = share * producers
    queue = asyncio.Queue(capacity)

    async def receive():
        total = 0
        for _ in range(sent):
            total += await queue.get()
        return total

    async def send(first):
        for n in range(share):
            await queue.put(first + n)

    meter.start()
    received = asyncio.create_task(receive())
    for producer in range(producers):
        detach(kept, send(producer * share))
    total = await received
    meter.stop(sent)
    assert total == sent * (sent - 1) // 2


@repeated
async def channel_1_1(meter):
    await channel(meter, 1)


@repeated
async def channel_n_1(meter):
    await channel(meter, 16)


async def contend(meter, lock):
    tasks, turns, turns_between_yields, kept = 100, 1_000, 10, set()
    countdown = Countdown(tasks)

    async def one():
        for n in range(turns):
            async with lock:
                if n % turns_between_yields == 0:
                    await asyncio.sleep(0)
        countdown.count()

    meter.start()
    for _ in range(tasks):
        detach(kept, one())
    await countdown.zero
    meter.stop(tasks * turns)


@repeated
async def mutex(meter):
    await contend(meter, asyncio.Lock())


@repeated
async def semaphore(meter):
    await contend(meter, asyncio.Semaphore(10))


# Ending many at once.

MANY = 10_000


@repeated
async def gather(meter):
    async def one(n):
        return n

    meter.start()
    outputs = await asyncio.gather(*(asyncio.create_task(one(n)) for n in range(MANY)))
    meter.stop(MANY)
    assert outputs == list(range(MANY))


async def pending_tasks():
    countdown = Countdown(MANY)
    forever = asyncio.get_running_loop().create_future

    async def one():
        countdown.count()
        await forever()

    tasks = [asyncio.create_task(one()) for _ in range(MANY)]
    await countdown.zero
    return tasks


async def cancel_all(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@repeated
async def cancel(meter):
    tasks = await pending_tasks()
    meter.start()
    await cancel_all(tasks)
    meter.stop(MANY)


@repeated
async def spawn_cancel(meter):
    meter.start()
    await cancel_all(await pending_tasks())
    meter.stop(MANY)


# Memory.


def resident():
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


async def grown_by(wait):
    before, tasks, meter, kept = 1_000, 100_000, Meter(), set()

    async def spawn(n):
        countdown = Countdown(n)

        async def one():
            countdown.count()
            await wait()

        for _ in range(n):
            detach(kept, one())
        await countdown.zero

    await spawn(before)
    least = resident()
    meter.start()
    await spawn(tasks)
    meter.stop(tasks)
    sample = meter.sample(max(resident() - least, 0) / tasks)
    await cancel_all(list(kept))
    return sample


@sampled
async def parked_bytes(plan):
    forever = asyncio.get_running_loop().create_future

    async def wait():
        await forever()

    return await grown_by(wait)


@sampled
async def sleeping_bytes(plan):
    return await grown_by(lambda: asyncio.sleep(3_600.0))
