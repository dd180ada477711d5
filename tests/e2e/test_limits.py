# SPDX-License-Identifier: Apache-2.0
"""Every limit at one below, at it and one above; and the memory of the whole process.

docs/limits.md names these tests. Times are configured short and waited for; no test judges how long something took.
"""
import json
import os
import time

import lib
from lib import API, CONT, PING, PONG, TEXT, Http, Server, eq, eventually, failure, frame, ok, row, success

STATS = "/wsc/stats"


# ---- requests --------------------------------------------------------------------------------------------------------


def padded(length, target=STATS, fields=()):
    """A request's head of exactly that many bytes."""
    head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: x", *fields, "X-Pad: "]).encode() + b"\r\n\r\n"
    ok(len(head) <= length, "no room for", head)
    return head[:-4] + b"x" * (length - len(head)) + b"\r\n\r\n"


def answered(server, data):
    with Http(server.address) as h:
        h.send_raw(data)
        return h.answer()


@row("1.limits")
def test_a_head_may_have_exactly_header_bytes():
    for settings, limit in (({}, 16384), ({"header_bytes": "2KiB"}, 2048)):
        with Server({"limits": settings}) as s:
            for n in (limit - 1, limit):
                success(answered(s, padded(n)))
            failure(answered(s, padded(limit + 1)), 431, "headers_too_large")


@row("1.limits", "threat 18")
def test_a_head_may_have_exactly_header_count_fields():
    for settings, limit in (({}, 64), ({"header_count": 10}, 10)):
        with Server({"limits": settings}) as s:
            for n in (limit - 1, limit):
                success(s.ask("GET", STATS, headers=[(f"X-{i}", "x") for i in range(n - 1)]))  # and Host
            failure(s.ask("GET", STATS, headers=[(f"X-{i}", "x") for i in range(limit)]), 431, "headers_too_large")


@row("1.limits")
def test_a_target_may_have_exactly_uri_bytes():
    for settings, limit in (({}, 8192), ({"uri_bytes": 300}, 300)):
        with Server({"limits": settings}) as s:
            for n in (limit - 1, limit):
                success(s.get(STATS + "?" + "x" * (n - len(STATS) - 1)))
            failure(s.get(STATS + "?" + "x" * (limit - len(STATS))), 414, "uri_too_long")


@row("1.limits", "4.408", "threat 61")
def test_a_head_that_comes_byte_by_byte_is_not_given_more_time():
    """Neither the first request nor a later one of a connection that is kept."""
    with Server({"limits": {"header_timeout": "1s"}}) as s:
        kept = s.http()
        success(kept.ask("GET", STATS))
        drips = [s.http(), kept]
        for d in drips:
            d.send_raw(b"GET / HTTP/1.1\r\nX-Slow: ")
        for d in drips:
            try:
                while not d.has_input():
                    d.send_raw(b"x")
                    time.sleep(0.02)
            except OSError:
                pass
            failure(d.answer(), 408, "request_timeout")
            d.expect_end()


@row("1.limits", "4.408")
def test_a_body_that_comes_byte_by_byte_is_not_given_more_time():
    with Server({"limits": {"header_timeout": "300ms"}}) as s:
        h = s.http()
        h.send_raw(b"POST " + API.encode() + b"/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while not h.has_input():
                h.send_raw(b" ")
                time.sleep(0.02)
        except OSError:
            pass
        failure(h.answer(), 408, "request_timeout")
        h.expect_end()


@row("1.limits", "4.413")
def test_a_body_may_have_exactly_max_message_size():
    with Server({"security": {"max_message_size": 2}}) as s:
        for n in (2047, 2048):
            eq(s.post(API + "/broadcast", b'{"content":"x"}'.ljust(n)).status, 200)
        failure(s.post(API + "/broadcast", b'{"content":"x"}'.ljust(2049)), 413, "body_too_large")


# ---- messages --------------------------------------------------------------------------------------------------------


def pieces(alice, n):
    """One message in that many fragments."""
    text = json.dumps({"to": "alice", "content": str(n)}).encode().ljust(n)
    cut = len(text) // n
    parts = [text[i * cut:(i + 1) * cut] for i in range(n - 1)] + [text[(n - 1) * cut:]]
    alice.send_raw(b"".join(frame(TEXT if i == 0 else CONT, p, fin=i == n - 1) for i, p in enumerate(parts)))


@row("1.limits", "7.1008", "threat 12")
def test_a_message_may_have_exactly_as_many_frames_as_fragments_says():
    for settings, limit in (({}, 1024), ({"fragments": 4}, 4)):
        with Server({"limits": settings}) as s:
            alice = s.ws("alice")
            for n in (limit - 1, limit):
                pieces(alice, n)
                alice.recv(content=str(n))
            pieces(alice, limit + 1)
            alice.expect_close(1008)


@row("1.limits", "7.1008")
def test_exactly_control_burst_control_frames_may_come_at_once():
    for n, closed in ((4, False), (5, False), (6, True)):
        with Server({"limits": {"control_rate": "1/s", "control_burst": 5}}) as s:
            alice = s.ws("alice")
            alice.send_raw(frame(PING, b"x") * n)
            if closed:
                alice.expect_close(1008)
            else:
                for _ in range(n):
                    eq(alice.recv_frame()[0], PONG)
                alice.quiet()


def nested(depth):
    """A message to alice of that many levels, its own braces one of them."""
    return '{"to":"alice","content":"%d","data":{"x":%s}}' % (depth, "[" * (depth - 2) + "]" * (depth - 2))


@row("1.limits.json_depth", "3.frame-bad", "threat 74")
def test_a_message_may_be_exactly_json_depth_levels_deep():
    for settings, limit in (({}, 64), ({"json_depth": 5}, 5), ({"json_depth": 63}, 63)):
        with Server({"limits": settings}) as s:
            alice = s.ws("alice")
            for n in (limit - 1, limit):
                alice.send_text(nested(n))
                alice.recv(content=str(n))
                success(s.post(API + "/send", nested(n), X_User_ID="bob"))
                alice.recv(content=str(n))
            alice.send_text(nested(limit + 1))
            alice.expect_error("bad_message", text="limits.json_depth")
            failure(s.post(API + "/send", nested(limit + 1), X_User_ID="bob"), 400, "bad_message")
            alice.quiet()


# ---- readers ---------------------------------------------------------------------------------------------------------


def stuff(server, user, n=150):
    """More than the kernel holds, and less than a queue."""
    h = server.http()
    for i in range(n):
        eq(h.ask("POST", API + "/send", {"to": user, "content": str(i), "filler": "x" * 8000},
                 [("X-User-ID", "a")]).status, 200)


@row("1.limits.write_timeout", "7.1013", "threat 133")
@lib.not_chopped
def test_a_reader_that_takes_nothing_for_the_write_timeout_is_closed_as_slow():
    """Its window is zero and its kernel answers every probe: only the deadline finds it."""
    with Server({"limits": {"write_timeout": "500ms"}, "performance": {"kernel_queue": "4KiB"}}) as s:
        stuck, idle = s.ws("stuck", rcvbuf=4096), s.ws("idle")
        stuff(s, "stuck")
        s.gone("stuck", 30)
        eq(s.stats()["closed_slow"], 1)
        entry = eventually(lambda: s.log("session closed"), "the log says so")[0]
        eq((entry["user"], entry["code"], entry["why"]), ("stuck", 1013, "slow reader"))
        n = 0
        try:
            while True:
                eq(stuck.recv()["content"], str(n))
                n += 1
        except lib.Closed as closed:
            eq(closed.code, 1013)
        except lib.Wrong:
            ok(stuck.ended, "neither a close frame nor the end")  # it was cut before there was room for the frame
        ok(n < 150, n)
        idle.quiet()  # nothing waits for this client


@row("1.limits.write_timeout", "5.closed")
@lib.not_chopped
def test_a_stream_that_takes_nothing_for_the_write_timeout_is_closed_as_slow():
    with Server({"limits": {"write_timeout": "500ms"}, "sse_message_buffer": 1000,
                 "performance": {"kernel_queue": "4KiB"}}) as s:
        stream = s.sse("stuck", rcvbuf=4096)
        stuff(s, "stuck")
        s.gone("stuck", 30)
        eq(s.stats()["closed_slow"], 1)
        while stream.fill():  # the bytes that the kernel had taken, and the end
            pass


@row("1.limits.write_timeout")
def test_a_reader_that_pauses_for_less_than_the_write_timeout_gets_everything():
    with Server({"limits": {"write_timeout": "5m"}, "performance": {"kernel_queue": "4KiB"}}) as s:
        late = s.ws("late", rcvbuf=4096)
        stuff(s, "late")
        time.sleep(1)
        for i in range(150):
            late.recv(content=str(i))
        late.quiet()


@row("1.limits.write_timeout", "threat 114")
def test_unread_answers_are_given_up_after_the_write_timeout():
    with Server({"limits": {"write_timeout": "500ms"}, "performance": {"kernel_queue": "4KiB"}}) as s:
        before = s.descriptors()
        h = s.http(rcvbuf=4096)
        h.sock.setblocking(False)
        request = h.build("GET", "/openapi.json")
        try:
            while True:
                h.sock.send(request * 10)
        except BlockingIOError:
            pass
        eventually(lambda: s.descriptors() <= before, "the connection is gone", 30)
        success(s.get(STATS))


# ---- memory ----------------------------------------------------------------------------------------------------------


def megabytes(n):
    return n << 20


def used(**config):
    """The memory that a server without load holds."""
    with Server(config) as s:
        s.get("/livez")
        return s.stats()["memory"]["used_bytes"]


@row("1.limits.memory")
def test_the_memory_limit_is_the_configured_one_or_three_quarters_of_the_machine():
    with Server({"limits": {"memory": "1GiB"}}) as s:
        m = s.stats()["memory"]
        eq((m["limit_bytes"], m["step"]), (1 << 30, 0))
        ok(megabytes(1) < m["used_bytes"] < megabytes(600), m)
        eq(s.log("limits")[0]["memory_bytes"], 1 << 30)
    m = lib.shared().stats()["memory"]
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    ok(0 < m["limit_bytes"] <= machine * 3 // 4, m)


@row("1.limits.memory")
@lib.not_chopped
def test_a_node_without_memory_refuses_and_logs_new_clients_and_serves_connected_ones():
    with Server({"limits": {"memory": max(used() * 2, megabytes(48))},
                 "security": {"max_message_size": "8MiB", "enable_rate_limit": False},
                 "performance": {"max_queue_bytes": "16MiB"}},
                env={"ASAN_OPTIONS": "quarantine_size_mb=1"}) as s:
        alice, bob = s.ws("alice"), s.ws("bob")
        holders = [s.ws(f"holder{i}") for i in range(150)]  # connected while there is room for them
        first, more = (frame(opcode, bytes(megabytes(1)), fin=False) for opcode in (TEXT, CONT))
        step, sent = 0, 0
        while step < 3:
            ok(sent < 1000, "the step never came:", s.stats()["memory"])
            holders[sent // 7].send_raw(more if sent % 7 else first)
            sent += 1
            alice.quiet()
            step = s.stats()["memory"]["step"]  # which is answered at any step
        if step == 3:
            ws = s.ws("newcomer", check=False)
            failure(ws.answer, 503, "overloaded", "limits.memory")
            ok(int(ws.answer.header("Retry-After")) > 0, ws.answer)
        with Http(s.address) as h:
            success(h.ask("GET", "/livez"))
        alice.send(to="bob", content="x")
        bob.recv(content="x")
        lines = [e["msg"] for e in s.log() if e["msg"].startswith("memory: ")]
        ok(lines, "the log says so")
        for h in holders:
            h.reset()
        eventually(lambda: s.stats()["memory"]["step"] == 0, "room again", 30)
        s.ws("newcomer").quiet()
        eventually(lambda: [e for e in s.log() if e.get("step") == 0], "and the log says so", 30)


@row("1.limits.memory", "7.1013", "threat 122")
@lib.not_chopped
def test_at_the_memory_limit_slow_readers_are_closed_and_good_ones_stay():
    base = max(used(), megabytes(20))
    limit = base + megabytes(40)
    with Server({"limits": {"memory": limit, "write_timeout": "10m"}, "message_buffer_size": 100000,
                 "max_connections_per_user": 1000,
                 "security": {"enable_rate_limit": False},
                 "performance": {"max_queue_bytes": "1GiB", "kernel_queue": "4KiB"}},
                env={"ASAN_OPTIONS": "quarantine_size_mb=1"}) as s:
        good, slow = s.ws("good"), [s.ws(f"slow{i}", rcvbuf=4096) for i in range(20)]
        alice = s.ws("alice")
        text = "x" * 60000
        closed, rounds = 0, 0
        while not closed:
            ok(rounds < 400, "no reader was closed:", s.stats())
            for c in slow:
                alice.send(to=c.user, content=text)
            alice.send(to="good", content=str(rounds))
            good.recv(content=str(rounds))
            rounds += 1
            while alice.has_input():
                alice.expect_error("user_offline")
            if rounds % 10 == 0:
                closed = s.stats()["closed_slow"]
        good.quiet()
        highest = s.stats()["memory"]["used_bytes"]
        print(f"memory: limit {limit >> 20} MiB, {rounds} rounds, {closed} closed, {highest >> 20} MiB then", flush=True)
        alice.send(to="good", content="still here")
        good.recv(content="still here")


@row("1.limits.memory", "server.idle")
def test_a_thousand_idle_connections_wake_no_worker():
    with Server({"heartbeat_interval": "1h", "workers": 2}) as s:
        crowd = [s.ws(f"u{i}") for i in range(1000)]
        crowd[0].quiet()

        def switches(task):
            with open(f"/proc/{s.process.pid}/task/{task}/status", encoding="ascii") as f:
                return sum(int(line.split()[1]) for line in f if line.startswith("voluntary"))
        tasks = os.listdir(f"/proc/{s.process.pid}/task")
        time.sleep(0.5)
        before = [switches(t) for t in tasks]
        time.sleep(2)
        woken = sorted(switches(t) - n for t, n in zip(tasks, before))
        if lib.SLOW:  # a sanitizer's own thread looks around
            woken.pop()
        ok(sum(woken) <= 6, "times that each thread was woken in two seconds:", woken)  # a timer's wheel turns now and then
        crowd[500].quiet()
