#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A thousand clients send a thousand-to-one deflate bomb each, at once, to a real server on loopback.

usage: bombs.py [--build DIR] [--clients N] [--takeover]

Every one of them must be closed with 1009, an ordinary pair of clients must be served meanwhile, and the growth of the
server's memory at its peak is printed beside the allowed growth. Starts the server and ends it. Last line: "N passed, N
failed"; the exit status is 0 when nothing failed.
"""
# Shows: threat 30
import argparse
import os
import re
import resource
import sys
import threading
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
sys.dont_write_bytecode = True
import lib  # noqa: E402

WORKERS = 2
MESSAGE = 1 << 20          # security.max_message_size, the default
INFLATED = 16 << 20        # of each bomb
OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate")]


def bomb():
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = c.compress(bytes(INFLATED)) + c.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]


def join(server, user):
    ws = server.keep(lib.Ws(server.address, user, headers=OFFER, check=False))
    lib.eq(ws.answer.status, 101)
    lib.ok(ws.answer.header("Sec-WebSocket-Extensions"), "compression was not agreed on")
    return ws


def status(server, key):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(rf"^{key}:\s+(\d+)", f.read(), re.M)[1]) * 1024


def reset_peak(server):
    with open(f"/proc/{server.process.pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


class Ordinary(threading.Thread):
    """A pair of clients without compression that go on talking; waits: seconds from send to receipt."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.alice, self.bob = server.ws("alice"), server.ws("bob")
        self.over, self.fault, self.waits = False, None, []

    def run(self):
        try:
            while not self.over:
                began = time.monotonic()
                self.alice.send(to="bob", content=str(len(self.waits)))
                self.bob.recv(content=str(len(self.waits)))
                self.waits.append(time.monotonic() - began)
                time.sleep(0.01)
        except Exception as e:  # reported by the main thread
            self.fault = e

    def report(self, what):
        waits = sorted(self.waits)
        print(f"{what}: {len(waits)} messages, median {waits[len(waits) // 2] * 1e3:.1f} ms, "
              f"p99 {waits[len(waits) * 99 // 100] * 1e3:.1f} ms, worst {waits[-1] * 1e3:.1f} ms")


def talk(server, seconds=None):
    pair = Ordinary(server)
    pair.start()
    if seconds:
        time.sleep(seconds)
        pair.over = True
        pair.join()
    return pair


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?", help="as run.py names it; the build directory is what counts")
    parser.add_argument("--build", default=os.environ.get("TEST_BUILD", os.path.join(lib.ROOT, "build")))
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--takeover", action="store_true", help="let each client have contexts of its own")
    opt = parser.parse_args()
    os.environ["TEST_BUILD"] = opt.build
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    passed = failed = 0

    def check(good, what):
        nonlocal passed, failed
        passed, failed = passed + bool(good), failed + (not good)
        print("ok   " if good else "FAIL ", what)

    wire = bomb()
    config = {"workers": WORKERS, "security": {"enable_rate_limit": False},
              "performance": {"enable_compression": True, "compression_context_takeover": opt.takeover,
                              "compression_memory": "1GiB"}}
    with lib.Server(config) as s:
        clients = [join(s, f"bomber-{i}") for i in range(opt.clients)]
        talk(s, 1).report("ordinary pair, quiet server")
        # Once through, so that every worker has its kept memory.
        clients.append(join(s, "first"))
        clients[-1].send_frame(lib.BINARY, wire, rsv=4)
        before = status(s, "VmRSS")
        reset_peak(s)
        pair = talk(s)
        frame = lib.frame(lib.BINARY, wire, rsv=4, mask=b"\0\0\0\0")
        began = time.monotonic()
        for c in clients[:-1]:
            c.send_raw(frame)
        codes = {}
        for c in clients:
            while not c.closed:
                c.recv_frame()
            codes[c.closed.code] = codes.get(c.closed.code, 0) + 1
            c.answer_close()
        seconds = time.monotonic() - began
        pair.over = True
        pair.join()
        grown = status(s, "VmHWM") - before
        pair.report("ordinary pair, under the bombs")
        # The inflated bytes of each worker, its kept memory, and that of a connection whose bomb has come in part.
        contexts = 48 << 10 if opt.takeover else 0
        allowed = WORKERS * (MESSAGE + (64 << 10)) + opt.clients * (2 * len(wire) + contexts + 1024)
        print(f"{opt.clients} bombs of {len(wire)} bytes, {INFLATED >> 20} MiB each inflated "
              f"({INFLATED / len(wire):.0f} to one), {opt.clients * INFLATED >> 30} GiB in all, {seconds:.1f} s")
        print(f"resident memory: {before / 1e6:.1f} MB before, at its peak {grown / 1e6:+.2f} MB; two workers' messages "
              f"are {WORKERS * (MESSAGE + (64 << 10)) / 1e6:.2f} MB, with a bomb under way from every client "
              f"{allowed / 1e6:.1f} MB")
        check(codes == {1009: opt.clients + 1}, f"every bomb is closed with 1009: {codes}")
        check(grown <= allowed, "memory stays within its bound")
        check(pair.fault is None, f"an ordinary pair is served meanwhile {pair.fault or ''}")
        lib.eventually(lambda: s.stats()["active_connections"] == 4, "all of them gone", 60)
        check(True, "all of them are gone afterwards")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
