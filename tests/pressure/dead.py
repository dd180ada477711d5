#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client whose network fails: its cable is pulled out. Needs root, for a network namespace of its own.

The gateway listens on one end of a pair of virtual cards, clients sit in a namespace at the other, which then goes down.
"""
import ctypes
import os
import socket
import subprocess
import sys
import time

from _scene import Scene, lib, verdict

NAME = f"wsc{os.getpid() % 10000}"
HERE, THERE = "198.18.77.1", "198.18.77.2"
CLIENTS = 50
LIBC, CLONE_NEWNET = ctypes.CDLL(None), 0x40000000


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def cable():
    ip("netns", "add", NAME)
    ip("link", "add", NAME + "a", "type", "veth", "peer", "name", NAME + "b")
    ip("link", "set", NAME + "b", "netns", NAME)
    ip("addr", "add", HERE + "/30", "dev", NAME + "a")
    ip("link", "set", NAME + "a", "up")
    ip("netns", "exec", NAME, "ip", "addr", "add", THERE + "/30", "dev", NAME + "b")
    ip("netns", "exec", NAME, "ip", "link", "set", NAME + "b", "up")


def over_there(make):
    """Sockets belong to the namespace in which they are made."""
    with open(f"/run/netns/{NAME}", encoding="ascii") as there, open("/proc/self/ns/net", encoding="ascii") as here:
        lib.eq(LIBC.setns(there.fileno(), CLONE_NEWNET), 0)
        try:
            return make()
        finally:
            lib.eq(LIBC.setns(here.fileno(), CLONE_NEWNET), 0)


def main():
    if os.geteuid() != 0 or subprocess.run(["ip", "netns", "add", NAME + "x"], capture_output=True).returncode:
        print("left out: it needs root and network namespaces\n0 passed, 0 failed")
        return 0
    ip("netns", "del", NAME + "x")
    try:
        cable()
        return scene()
    finally:
        subprocess.run(["ip", "link", "del", NAME + "a"], capture_output=True)
        subprocess.run(["ip", "netns", "del", NAME], capture_output=True)


def scene():
    heartbeat, timeout = 2, 6
    with Scene({"node_ip": HERE, "heartbeat_interval": heartbeat, "client_timeout": timeout,
                "sse_heartbeat": heartbeat}) as s:
        address = (HERE, s.server.port)
        sockets = over_there(lambda: [lib.Ws(address, f"ws{i}") for i in range(CLIENTS)])
        streams = over_there(lambda: [lib.Sse(address, f"sse{i}") for i in range(CLIENTS)])
        lib.eventually(lambda: s.server.stats()["active_connections"] == 2 * CLIENTS)
        ip("netns", "exec", NAME, "ip", "link", "set", NAME + "b", "down")
        began, left = time.monotonic(), {}
        while time.monotonic() < began + 60 and len(left) < 2:
            for kind, n in s.server.stats()["connections_by_type"].items():
                if n == 0 and kind not in left:
                    left[kind] = time.monotonic() - began
            time.sleep(0.05)
        for kind, most in (("websocket", timeout + 1), ("sse", 2 * heartbeat + timeout + 3)):
            after = left.get(kind, 60)
            s.check(f"{CLIENTS} connections by {kind} whose network failed are ended after {after:.1f} s (at most {most} s)",
                    after <= most)
        for c in sockets + streams:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            c.cut()
    return verdict(s)


if __name__ == "__main__":
    sys.exit(main())
