# SPDX-License-Identifier: Apache-2.0
"""Event streams."""

import lib
from lib import API, KEYS, Server, eq, eventually, failure, has, name, ok, row, shared, success


@row("5.head")
def test_the_head_of_a_stream():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        stream = s.sse("bob", headers=[("Origin", "https://app.example.com")])
        a = stream.answer
        eq(a.status, 200)
        eq(a.header("Content-Type").split(";")[0], "text/event-stream")
        eq(a.header("Cache-Control"), "no-store")
        eq(a.header("X-Accel-Buffering"), "no")
        eq(a.header("Access-Control-Allow-Origin"), "https://app.example.com")
        has(a.header("Access-Control-Expose-Headers"), "X-WSC-Client-ID")
        eq((a.length, a.header("Transfer-Encoding")), (None, None), "a stream ends with its connection")
        ok(a.header("X-WSC-Client-ID") and a.header("X-WSC-Node-ID"))
        failure(s.sse("bob", headers=[("Origin", "https://evil.example")], check=False).answer, 403, "forbidden_origin")


@row("5.connected")
def test_the_first_event_is_connected_with_the_user_id():
    s = shared()
    for user in (name("bob"), 'quo"ted\\ é'):
        stream = s.sse(user, skip_connected=False)
        m = stream.recv("connected", from_="system", to=user, user_id=user)
        ok(set(m) >= set(KEYS) | {"user_id"}, m)


@row("5.data")
def test_each_message_is_one_data_line_without_event_or_id():
    s = shared()
    stream = s.sse(name("bob"))
    alice = s.ws(name("alice"))
    for content in ("plain", "line\nbreak\r\n", "data: x\n\ndata: y", "\u2028", "é\U0001f600", ":"):
        alice.send(to=stream.user, content=content, type="text")
        stream.recv("text", content=content, from_=alice.user)
        eq((stream.last_event.id, stream.last_event.event), (None, None))
    success(s.send("a", stream.user, "posted"))
    stream.recv(content="posted")


@row("5.data", "threat 72")
def test_a_message_written_over_many_lines_arrives_as_one():
    s = shared()
    stream, bob = s.sse(name("bob")), s.ws(name("x"))
    bob.send_text('{\r\n "to": "%s",\n "content": "x",\r "own":\n\n{"a":\r1}}' % stream.user)
    eq(stream.recv(content="x")["own"], {"a": 1})


@row("5.retry", "threat 178")
def test_retry_comes_once_and_differs_from_stream_to_stream():
    s = shared()
    values = set()
    for _ in range(12):
        stream = s.sse(name(), skip_connected=False)
        events = [stream.event()]
        while events[-1].data is None:
            events.append(stream.event())
        retries = [e.retry for e in events if e.retry is not None]
        eq(len(retries), 1, events)
        success(s.send("a", stream.user, "x"))
        eq(stream.event().retry, None)
        values.add(retries[0])
        stream.cut()
    ok(len(values) > 1, "every stream got", values)
    # A replaced stream gets 204 only within 5 s, so a client that waits as told must come back well before.
    ok(all(1000 <= v <= 4000 for v in values), values)


@row("5.comment", "1.sse_heartbeat")
def test_a_quiet_stream_gets_comments():
    with Server({"sse_heartbeat": "60ms"}) as s:
        stream = s.sse("bob")
        for _ in range(3):
            e = stream.event()
            ok(e.comments and e.data is None, e)
        success(s.send("a", "bob", "x"))
        stream.recv(content="x")


@row("5.comment")
def test_without_silence_there_is_no_comment():
    s = shared()
    stream = s.sse(name())
    for i in range(5):
        success(s.send("a", stream.user, str(i)))
        e = stream.event()
        ok(e.data and not e.comments, e)


@row("5.never-cut")
def test_a_stream_that_listens_is_never_cut_for_silence():
    with Server({"heartbeat_interval": "50ms", "client_timeout": "100ms", "sse_heartbeat": "50ms"}) as s:
        stream = s.sse("bob")
        silent = s.ws("silent", pong=False)
        silent.expect_close(4408)
        for _ in range(10):
            ok(stream.event().comments)
        success(s.send("a", "bob", "still here"))
        stream.recv(content="still here")


@row("5.peer-gone", "1.client_timeout", "threat 133")
def test_a_stream_whose_client_takes_no_bytes_for_client_timeout_is_cut():
    with Server({"heartbeat_interval": "200ms", "client_timeout": "500ms", "message_buffer_size": 100000,
                 "sse_message_buffer": 100000,
                 "performance": {"kernel_queue": "4KiB", "max_queue_bytes": "64MiB"}}) as s:
        s.sse("bob", rcvbuf=4096)
        h = s.http()
        for _ in range(300):
            a = h.ask("POST", API + "/send", {"to": "bob", "content": "x" * 4000}, [("X-User-ID", "a")])
            if a.status == 404:
                break
        s.gone("bob", lib.LIMIT * 3)


@row("5.closed")
def test_the_last_event_of_a_stream_that_the_server_ends_is_closed():
    with Server() as s:
        stream = s.sse("bob")
        s.signal(15)
        m = stream.expect_closed(1001, True)
        has(m["data"]["reason"], "away")
        eq(s.wait(), 0)


@row("5.closed", "5.204", "7.4409", "1.max_connections_per_user", "threat 99")
def test_a_replaced_stream_is_told_to_stop_and_gets_204_when_it_comes_back():
    with Server({"max_connections_per_user": 1}) as s:
        first = s.sse("bob")
        second = s.sse("bob2")
        other = s.ws("bob")
        first.expect_closed(4409, False)
        # Without these fields a page of another origin would not see the 204, and its EventSource would come back.
        a = s.sse("bob", check=False, headers=[("Origin", "https://app.example.com")]).answer
        eq((a.status, a.body), (204, b""))
        eq(a.header("Access-Control-Allow-Origin"), "https://app.example.com")
        other.quiet()
        success(s.send("a", "bob2", "x"))
        second.recv(content="x")


@row("5.204")
def test_a_socket_may_take_the_place_back_within_these_seconds():
    with Server({"max_connections_per_user": 1}) as s:
        first = s.sse("bob")
        s.ws("bob")
        first.expect_closed(4409, False)
        third = s.ws("bob")
        third.quiet()


@row("5.204", "threat 121")
def test_after_five_seconds_the_stream_is_welcome_again():
    with Server({"max_connections_per_user": 1}) as s:
        first = s.sse("bob")
        holder = s.ws("bob")
        first.expect_closed(4409, False)

        def back():
            with lib.Sse(s.address, "bob", check=False) as stream:
                ok(stream.answer.status in (200, 204), stream.answer)
                return stream.answer.status == 200
        eventually(back, "a stream after 204", lib.LIMIT * 2)
        holder.expect_close(4409)


@row("5.last-event-id", "6.resume", "threat 73")
def test_last_event_id_is_taken_and_without_a_store_means_nothing():
    s = shared()
    for options in ({"headers": [("Last-Event-ID", "12")]}, {"query": {"after": "12"}},
                    {"query": {"Last-Event-ID": "12"}}):
        stream = s.sse(name(), **options)
        eq(stream.last_event.id, None)
        success(s.send("a", stream.user, "x"))
        m = stream.recv()
        while m["type"] == "resumed":
            eq(m["data"]["complete"], False, "nothing is stored, so nothing is known to be complete")
            m = stream.recv()
        eq(m["content"], "x")


@row("5.both")
def test_a_user_with_a_stream_and_a_socket_gets_a_message_on_both():
    s = shared()
    ws = s.ws(name("bob"))
    stream = s.sse(ws.user)
    eq(success(s.send("a", ws.user, "x"))["data"]["delivered_count"], 2)
    first = ws.recv(content="x")
    eq(stream.recv(content="x"), first)


@row("5.head")
def test_only_get_opens_a_stream():
    s = shared()
    eq(s.ask("POST", "/sse?user_id=a", "{}").status, 405)
    success(s.get(API + "/stats"))


@row("4.head", "5.head")
def test_head_of_a_stream_is_its_head_and_no_session():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        origin = [("Origin", "https://app.example.com")]
        for query, status in (("?user_id=bob", 200), ("", 401), ("?user_id=%00", 400), ("?user_id=system", 403),
                              ("?user_id=bob&user_type=nobody", 403)):
            with s.http() as h:
                h.send_raw(h.build("HEAD", "/sse" + query, None, origin))
                a = h.head()
            eq((a.status, a.header("Access-Control-Allow-Origin")), (status, "https://app.example.com"), query)
            if status == 200:
                get = s.sse("eve", headers=origin).answer
                for field in ("Content-Type", "Cache-Control", "X-Accel-Buffering", "Connection", "Vary", "Content-Length"):
                    eq(a.header(field), get.header(field), field)
        with s.http() as h:
            h.send_raw(h.build("HEAD", "/sse?user_id=bob", None, [("Origin", "https://evil.example")]))
            eq(h.head().status, 403)
        ok(not s.is_online("bob"))


@row("5.data")
def test_bytes_that_a_stream_client_sends_are_ignored():
    s = shared()
    stream = s.sse(name("bob"))
    stream.send_raw(b"GET /wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n" * 3 + bytes(1000))
    success(s.send("a", stream.user, "x"))
    stream.recv(content="x")


@row("5.closed", "1.slow_consumer", "1.sse_message_buffer", "7.1013")
def test_a_stream_that_is_too_slow_is_closed():
    with Server({"sse_message_buffer": 3, "performance": {"kernel_queue": "4KiB"}}) as s:
        stream = s.sse("bob", rcvbuf=4096)
        h = s.http()
        for i in range(2000):
            a = h.ask("POST", API + "/send", {"to": "bob", "content": str(i), "filler": "x" * 4000},
                      [("X-User-ID", "a")])
            if a.status != 200:
                failure(a, 404, "user_offline")
                break
        else:
            lib.fail("2000 messages found room for a client that reads nothing")
        n = 0
        while True:
            m = stream.recv()
            if m["type"] == "closed":
                break
            eq(m["content"], str(n), "a gap before the end")
            n += 1
        eq((m["data"]["code"], m["data"]["reconnect"]), (1013, True))
        stream.expect_end()
