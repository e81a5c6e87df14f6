"""The workloads on asyncio, on its own event loop or on uvloop's: one thread, whatever the number of workers.

`LOOP about` tells the version and the workloads; `LOOP WORKLOAD WORKERS WARM-UP TIME` (in milliseconds) takes a sample.
`tree` is missing: asyncio runs it breadth first, so that a round holds a million tasks and takes a quarter of a minute.
"""

import asyncio
import platform
import sys

import tasks  # Both enter their workloads into the table.
import waiting
from measuring import WORKLOADS, Plan


def main(loop, workload, workers="1", warm_up="200", measured="500"):
    if sys.version_info < (3, 11):
        sys.exit("it takes Python 3.11: asyncio.timeout is new there")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if loop == "uvloop":
        import uvloop

        version, new_loop = f"uvloop {uvloop.__version__} on {python}", uvloop.new_event_loop
    else:
        version, new_loop = f"asyncio of {python}", asyncio.new_event_loop
    if workload == "about":
        print(version, *WORKLOADS, sep="\n")
        return
    plan = Plan(int(warm_up) / 1e3, int(measured) / 1e3)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        print(runner.run(WORKLOADS[workload](plan)))


if __name__ == "__main__":
    main(*sys.argv[1:])
