# SPDX-License-Identifier: Apache-2.0
"""Every case against the server itself: whole, in single bytes, and cut in two.

A case is right when exactly its answers come, in order, when the connection then ends or serves another request, and
when the receiver has got exactly the messages that the case may deliver.
"""
import os
import re
import select
import socket
import time

import lib
from lib import Http, Wrong, eq, fail, ok

PROBE = b"GET /livez HTTP/1.1\r\nHost: h\r\nX-Probe: y\r\n\r\n"


def answers_of(h, case):
    """The final answers that a case should get, read from @h; interim ones are passed over."""
    got = []
    while len(got) < len(case.statuses):
        a = h.answer(case.data.startswith(b"HEAD /") or case.data.startswith(b"HEAD http"))
        if a.status >= 200:
            got.append(a)
    return got


def send_in(h, pieces):
    """Sends the parts one by one; a server that has already answered and closed may refuse the rest."""
    try:
        for p in pieces:
            h.send_raw(p)
    except OSError:
        pass


def check(server, case, pieces):
    with Http(server.address) as h:
        send_in(h, pieces)
        got = answers_of(h, case)
        eq([a.status for a in got], case.statuses, "answers")
        for a in got:
            if a.status >= 400 and a.body:
                lib.failure(a, a.status, a.json()["code"])
        if case.end == "open":
            h.send_raw(PROBE)
            eq(h.answer().status, 200, "the request behind it")
            return
        if case.end == "none":
            h.shut()
        h.expect_end()


class Inbox:
    """The messages that the receiver of all cases has got, by case."""

    def __init__(self, server):
        self.server, self.ws, self.marks = server, server.ws("victim"), 0

    def take(self):
        """Counts by text, of all that was delivered since the last call."""
        self.marks += 1
        mark = f"mark-{self.marks}"
        lib.success(self.server.send("marker", "victim", mark))
        counts = {}
        for m in self.ws.recv_until(mark):
            counts[m["content"]] = counts.get(m["content"], 0) + 1
        return counts


def judge(inbox, cases):
    """Were exactly the messages delivered that these cases may deliver?"""
    counts = inbox.take()
    wanted = {f"said-{c.number:04d}": c.sent for c in cases if c.sent}
    if counts != wanted:
        names = {c.number: c for c in cases}
        keys = sorted(k for k in set(counts) | set(wanted) if counts.get(k) != wanted.get(k))
        fail("deliveries:", *(f"\n  {k}: {counts.get(k, 0)} times, not {wanted.get(k, 0)}: {names.get(int(k[-4:]))}"
                              for k in keys))


def run(server, inbox, cases, cut):
    """Runs each case with its bytes in the parts that @cut makes; returns a line for each case that fails."""
    stories = []
    for case in cases:
        try:
            check(server, case, cut(case.data))
            if not server.running():
                fail("the server has ended by itself")
        except (AssertionError, OSError) as e:
            stories.append(f"{case!r}\n  {case.data[:160]!r}\n  {e}")
            if not server.running():
                break
    try:
        judge(inbox, cases)
    except Wrong as e:
        stories.append(str(e))
    return stories


def whole(data):
    return [data]


def single_bytes(data):
    """Single bytes; larger parts for a very long case, so that it takes no longer than the others."""
    step = 1 if len(data) <= 1500 else 61
    return [data[i:i + step] for i in range(0, len(data), step)]


# ---- every cut -------------------------------------------------------------------------------------------------------


class Cut:
    """One connection whose bytes come in two reads. The second goes out when the server has had time for the first:
    when a probe on another connection, sent behind it, was answered."""

    def __init__(self, server, case, at):
        self.case, self.at = case, at
        self.sock = socket.create_connection(server.address, lib.LIMIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def first(self):
        self.send(self.case.data[:self.at])

    def second(self):
        self.send(self.case.data[self.at:] + (PROBE if self.case.end == "open" else b""))
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.sock.setblocking(False)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def read(self):
        """False once it has ended."""
        try:
            more = self.sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            more = b""
        self.data += more
        return bool(more)

    def judge(self):
        got = [int(n) for n in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", self.data)]
        want = self.case.statuses + ([200] if self.case.end == "open" else [])
        eq(got, want, "answers, cut at", self.at)


def cuts(cases, share, parts):
    """(case, offset) for every inner boundary whose running number leaves @share when divided by @parts."""
    n = 0
    for case in cases:
        step = max(1, len(case.data) // 600)
        for at in range(1, len(case.data), step):
            n += 1
            if n % parts == share:
                yield case, at


def run_cuts(server, inbox, cases, share, parts, together=100):
    """Returns how many cuts were tried, and a line for each that fails."""
    todo, tried, stories, delivered = iter(cuts(cases, share, parts)), 0, [], {}
    with Http(server.address) as other:
        while True:
            batch = [Cut(server, c, at) for (c, at), _ in zip(todo, range(together))]
            if not batch:
                break
            for c in batch:
                c.first()
            other.ask("GET", "/livez")
            for c in batch:
                c.second()
            wait_for(batch)
            for c in batch:
                tried += 1
                c.sock.close()
                if c.case.sent:
                    key = f"said-{c.case.number:04d}"
                    delivered[key] = delivered.get(key, 0) + c.case.sent
                try:
                    c.judge()
                except Wrong as e:
                    stories.append(f"{c.case!r}\n  {e}")
            counts = inbox.take()
            if counts != delivered:
                stories.append(f"deliveries of a batch: {set(counts.items()) ^ set(delivered.items())}")
            delivered.clear()
    return tried, stories


def wait_for(batch):
    poll, left = select.poll(), {}
    for c in batch:
        poll.register(c.sock, select.POLLIN)
        left[c.sock.fileno()] = c
    end = time.monotonic() + lib.LIMIT
    while left:
        for fd, _ in poll.poll(1000):
            if not left[fd].read():
                poll.unregister(fd)
                del left[fd]
        ok(time.monotonic() < end, "no end within", lib.LIMIT, "s:", [repr(c.case) for c in left.values()][:3])


def parts_of_run():
    """The cuts are divided into so many shares; one share runs. CUTS=1: all."""
    return int(os.environ.get("CUTS", "8"))
