#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""limits.memory of 192 MiB, and readers that stand still and would hold far more: the steps, in their order."""
import sys
import time

from _scene import MIB, Scene, verdict

LIMIT = 192 * MIB
READERS, FEEDS = 1000, 3


def main():
    with Scene({"limits": {"memory": LIMIT, "write_timeout": "10m"}, "message_buffer_size": 10000,
                "performance": {"max_queue_bytes": "16MiB"}}) as s:
        pair, quiet = s.probe()
        crowds, steps = [], set()

        def look():
            steps.add(s.server.stats()["memory"]["step"])
        for i in range(FEEDS):  # each feeds the first READERS of them, so that queues grow
            crowds.append(s.crowd("stalled", READERS))
            time.sleep(1)
        f, _ = s.under(pair, quiet, 1, "as it fills")
        s.share(25, look)
        after, _ = s.under(pair, quiet, 3, "at the limit")
        st = s.server.stats()
        print(f"steps seen: {sorted(steps)}; now {st['memory']}; {st['closed_slow']} closed as slow")
        for e in s.log("memory: "):
            print(f"    {e['time'][11:23]} step {e['step']}, {e['used_bytes'] / MIB:.1f} MiB: {e['msg']}")
        s.check("nothing of the pairs is lost", f["lost"] == 0 and after["lost"] == 0)
        s.check(f"the process held {s.highest / MIB:.1f} MiB at most; the limit is {LIMIT / MIB:.0f} MiB, and a tenth more may come "
                "between two looks", s.highest <= LIMIT * 1.1)
        s.check("the log tells of steps", len(s.log("memory: ")) > 0)
        for c in crowds:
            c.end()
        s.share(10, look)
        s.check("afterwards there is room again", s.server.stats()["memory"]["step"] == 0)
    return verdict(s)


if __name__ == "__main__":
    sys.exit(main())
