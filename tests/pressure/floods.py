#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A hundred clients that send without end, kind by kind: with the rates, which end them, and without them, where only
the turns are fair."""
import sys

from _scene import MIB, Scene, verdict

FLOODS = 100
KINDS = ("messages", "pings", "fragments", "empties", "requests", "deaf")
RULED = {"messages": 10, "pings": 0, "fragments": 0, "empties": 10}  # seconds until their rule ends them


def main():
    scenes = []
    for rates in (True, False):
        with Scene({"security": {"enable_rate_limit": rates}}) as s:
            scenes.append(s)
            pair, quiet = s.probe()
            for kind in KINDS:
                c = s.crowd(kind, FLOODS)
                c.all_open()
                name = f"{FLOODS} floods of {kind}{'' if rates else ', no rates'}"
                s.under(pair, quiet, 4, name)
                s.nothing_lost(pair, name)
                if rates and kind in RULED:
                    g = c.all_gone(RULED[kind] + 20)
                    s.check(f"{name}: {g['gone']} gone after {g['shortest_ms']} to {g['longest_ms']} ms",
                            g["gone"] == FLOODS and g["longest_ms"] <= 1000 * RULED[kind] + 3000)
                elif kind == "deaf":
                    g = c.all_gone(25)
                    s.check(f"{name}: {g['gone']} that read no answer are closed after {g['longest_ms']} ms (write_timeout, 10 s)",
                            g["gone"] == FLOODS)
                else:
                    g = c.figures()
                print(f"{name}: {g['bytes_out'] / MIB:.1f} MiB taken in {g['ms'] / 1000:.1f} s")
                c.end()
            s.check(f"memory was {s.highest / MIB:.1f} MiB at most, {(s.highest - s.base_memory) / FLOODS / 1024:.0f} KiB a flood "
                    "(1.25 MiB, the limit of a message and a quarter)",
                    s.highest - s.base_memory <= FLOODS * 1.25 * MIB + 16 * MIB)
    return verdict(*scenes)


if __name__ == "__main__":
    sys.exit(main())
