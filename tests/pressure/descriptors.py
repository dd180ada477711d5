#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No descriptors: clients connect without end, and the gateway neither spins nor ends its connections."""
import resource
import sys
import time

from _scene import Scene, lib, verdict

KNOCKERS = 200


def limit(server, soft):
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (soft, 20000))


def knocked(s, pair, quiet, soft, what):
    """Ten seconds without a descriptor; the share of a core is the gateway's alone, the pairs' messages included."""
    before = len(s.log("no descriptor is left"))
    limit(s.server, soft)
    knockers = s.crowd("knocks", KNOCKERS)
    time.sleep(1)
    first = knockers.figures()
    _, share = s.under(pair, quiet, 10, what)
    g = knockers.figures()
    told = g["status_503"] - first["status_503"]
    print(f"{what}: {told / 10:.0f} new clients a second got 503")
    lines = len(s.log("no descriptor is left")) - before
    s.check(f"{what}: {lines} lines of the log in 11 s (one in ten seconds)", lines <= 2)
    s.nothing_lost(pair, what)
    limit(s.server, 20000)
    free = time.monotonic()
    with lib.Http(s.server.address) as h:
        while h.ask("GET", "/livez").status != 200:
            h.cut()
            h.__init__(s.server.address)
    late = time.monotonic() - free
    s.check(f"{what}: new clients are served {late * 1000:.0f} ms after there are descriptors again (1 s)", late <= 1)
    knockers.end()
    return share, told


def main():
    with Scene() as s:
        pair, quiet = s.probe()
        idle = s.share(5)
        used = s.server.descriptors()
        with_spare, told = knocked(s, pair, quiet, used, "with the spare descriptor")
        s.check("new clients got 503", told > 0)
        without, _ = knocked(s, pair, quiet, 1, "without the spare descriptor")
        print(f"the pairs alone cost {idle * 100:.1f} % of a core")
        for what, share in (("with the spare descriptor", with_spare), ("without the spare descriptor", without)):
            more = (share - idle) * 100
            s.check(f"{what}: {more:.1f} % of a core for the refused clients (5 %)", more < 5)
    return verdict(s)


if __name__ == "__main__":
    sys.exit(main())
