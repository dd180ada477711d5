#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""All at once: 10,000 heads that never end, 1,000 clients that do not read, 100 floods, and connections that are reset.

Ordinary pairs talk beside them. Everything is at its default.
"""
import sys

from _scene import MIB, Scene, first, verdict

HEADS, STALLED, FLOODS = 10000, 1000, 100


def main():
    with Scene(limits=first) as s:
        pair, quiet = s.probe(8)
        stalled = s.crowd("stalled", STALLED)
        stalled.all_up()
        heads = s.crowd("heads", HEADS)
        resets = s.crowd("resets", 20)
        floods = [s.crowd(kind, FLOODS // 4) for kind in ("messages", "pings", "fragments", "empties")]
        f, _ = s.under(pair, quiet, 9, "the pairs under siege")
        s.nothing_lost(pair)
        s.check(f"their p99 is at most twice that of quiet ({f['p99_us'] / 1000:.2f} to {quiet['p99_us'] / 1000:.2f} ms)",
                f["p99_us"] <= 2 * quiet["p99_us"])
        g = heads.all_gone(20)
        s.share(0.2)
        s.check(f"{g['gone']} of {HEADS} slow heads are closed, with {g['status_408']} times 408, the last after "
                f"{g['longest_ms']} ms (10 s + 1 s)", g["gone"] == HEADS and g["longest_ms"] <= 11000)
        for c in floods:
            g = c.all_gone(30)
            s.check(f"{g['gone']} of {c.count} floods of {c.kind} are closed, after {g['shortest_ms']} to {g['longest_ms']} ms, "
                    f"{g['bytes_out'] / MIB:.1f} MiB taken from them", g["gone"] == c.count)
        g = stalled.all_gone(30)
        s.check(f"{g['gone']} of {STALLED} clients that do not read are closed, the last {g['longest_ms']} ms after all were fed "
                "(10 s without a byte, 5 s for the close)", g["gone"] == STALLED and g["longest_ms"] <= 17000)
        s.check(f"{s.server.stats()['closed_slow']} closed as slow readers", s.server.stats()["closed_slow"] >= STALLED)
        print(f"the pairs while the crowds were ended: {s.latency(pair.figures())}")
        s.under(pair, quiet, 3, "the pairs afterwards")
        s.nothing_lost(pair)
        r = resets.figures()
        print(f"{r['opened']} connections were reset meanwhile")
        limit = s.base_memory + STALLED * 400 * 1024 + HEADS * 4096 + 64 * MIB
        s.check(f"memory was {s.highest / MIB:.1f} MiB at most: below the queued bytes and 4 KiB a head, {limit / MIB:.0f} MiB",
                s.highest <= limit)
    return verdict(s)


if __name__ == "__main__":
    sys.exit(main())
