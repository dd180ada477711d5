#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""limits.memory of 192 MiB, and clients that do not read and would hold far more: the steps, in their order."""
import sys
import time

from _scene import MIB, Scene, lib, verdict

LIMIT = 192 * MIB
READERS = 1000


def main():
    with Scene({"limits": {"memory": LIMIT, "write_timeout": "10m"}, "message_buffer_size": 10000,
                "performance": {"max_queue_bytes": "16MiB"}}) as s:
        pair, quiet = s.probe()
        kept = s.server.http()  # new clients are refused in the end
        kept.ask("GET", "/livez")
        stalled = s.crowd("stalled", READERS)
        stalled.all_up()
        steps, began, sent, closed_at = set(), time.monotonic(), 0, None
        while time.monotonic() < began + 60 and (closed_at is None or time.monotonic() < closed_at + 2):
            for _ in range(20):
                kept.ask("POST", lib.API + "/send", {"to": f"still{sent % READERS}", "content": "x" * 16000},
                         [("X-User-ID", "feeder")])
                sent += 1
            s.highest = max(s.highest, s.memory())
            st = lib.success(kept.ask("GET", "/wsc/stats"))["data"]
            steps.add(st["memory"]["step"])
            if st["closed_slow"] and closed_at is None:
                closed_at = time.monotonic()
        s.under(pair, quiet, 3, "at the limit")
        st = s.server.stats()
        print(f"steps seen: {sorted(steps)}; {sent} messages of 16 KB more; now {st['memory']}; {st['closed_slow']} closed as slow")
        for e in s.log("memory: "):
            print(f"    {e['time'][11:23]} step {e['step']}, {e['used_bytes'] / MIB:.1f} MiB: {e['msg']}")
        s.nothing_lost(pair)
        s.check(f"the process held {s.highest / MIB:.1f} MiB at most; the limit is {LIMIT / MIB:.0f} MiB, and a tenth more may come "
                "between two looks", s.highest <= LIMIT * 1.1)
        rising = [e["step"] for e in s.log("memory: ")]
        s.check(f"steps are entered in their order: {rising}", rising[:4] == sorted(rising[:4]) and max(rising) == 4)
        s.check(f"at the limit readers are closed, and no more than it takes: {st['closed_slow']} of {READERS}",
                0 < st["closed_slow"] < READERS * 3 / 4)
        kept.cut()
        stalled.end()
        s.share(10)
        s.check("afterwards there is room again", s.server.stats()["memory"]["step"] == 0)
    return verdict(s)


if __name__ == "__main__":
    sys.exit(main())
