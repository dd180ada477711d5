#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Thousands of slow clients: each kind is closed at its limit, and the pairs do not notice."""
import sys

from _scene import Scene, verdict

# kind, how many, seconds until the last one has ended: the limit, and the time that its end may take
KINDS = (("mute", 3000, 10 + 2),       # header_timeout
         ("heads", 3000, 10 + 1 + 2),  # header_timeout, and the time to read the 408
         ("bodies", 1000, 30 + 1 + 2),  # three times that
         ("stalled", 500, 10 + 5 + 2),  # write_timeout, the time for the close
         ("streams", 500, 10 + 5 + 2))


def main():
    with Scene() as s:
        pair, quiet = s.probe()
        crowds = [(s.crowd(kind, n), seconds) for kind, n, seconds in KINDS]
        for c, _ in crowds:
            c.all_open()
        s.under(pair, quiet, 8, "beside 8,000 slow clients")
        s.nothing_lost(pair)
        for c, seconds in crowds:
            g = c.all_gone(seconds + 20)
            s.share(0)
            s.check(f"{g['gone']} of {c.count} {c.kind} are closed after {g['shortest_ms']} to {g['longest_ms']} ms ({seconds} s)",
                    g["gone"] == c.count and g["longest_ms"] <= seconds * 1000)
    return verdict(s)


if __name__ == "__main__":
    sys.exit(main())
