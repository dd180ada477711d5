# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: the input and the answers of each call, and how the connection under it behaves."""
import datetime
import json
import socket
import time
import urllib.parse

import lib
from lib import API, KEYS, STAMP, ULID, Http, Server, eq, eventually, failure, has, name, ok, row, shared, success

SEND, BROADCAST, ONLINE, STATS = (f"{API}/{leaf}" for leaf in ("send", "broadcast", "online", "stats"))


# ---- send ------------------------------------------------------------------------------------------------------------


@row("4.send", "4.success-shape")
def test_a_send_is_delivered_and_says_so():
    s = shared()
    bob = s.ws(name("bob"))
    body = success(s.send("user1", bob.user, "Hi"))
    eq(list(body), ["success", "message", "data"])
    d = body["data"]
    eq(set(d), {"id", "to", "type", "status", "delivered_count"})
    eq((d["to"], d["type"], d["status"], d["delivered_count"]), (bob.user, "text", "delivered", 1))
    ok(ULID.match(d["id"]), d)
    m = bob.recv("text", content="Hi", from_="user1", to=bob.user, id=d["id"])
    eq(set(m), set(KEYS))


@row("4.send")
def test_delivered_count_is_the_number_of_the_receivers_connections():
    s = shared()
    bob = name("bob")
    ends = [s.ws(bob), s.ws(bob), s.sse(bob)]
    eq(success(s.send("user1", bob, "Hi"))["data"]["delivered_count"], 3)
    for e in ends:
        e.recv(content="Hi")


@row("4.send")
def test_delivered_means_on_the_queue_and_not_read_by_a_person():
    s = shared()
    bob = s.ws(name("bob"))
    for i in range(20):
        eq(success(s.send("user1", bob.user, str(i)))["data"]["status"], "delivered")
    for i in range(20):
        bob.recv(content=str(i))


@row("4.send-401", "threat 102")
def test_a_send_without_a_sender_is_refused():
    s = shared()
    bob = s.ws(name("bob"))
    failure(s.post(SEND, {"to": bob.user, "content": "x"}), 401, "user_id_required", "user_id is required")
    failure(s.post(SEND, {"to": bob.user, "content": "x"}, X_User_ID=""), 401, "user_id_required")
    failure(s.post(SEND + "?user_id=alice", {"to": bob.user, "content": "x"}), 401, "user_id_required")
    success(s.send("a", bob.user, "marker"))
    bob.recv(content="marker")


@row("4.send-sender")
def test_a_sender_must_be_an_id_and_not_system():
    s = shared()
    for bad in (b"x" * 129, b"\xff\xfe", b"a\tb", b"\xc2\x85"):
        failure(raw_user(s, bad), 400, "bad_request")
    failure(s.send("system", "b", "x"), 403, "forbidden_user_id")


def raw_user(s, user):
    body = b'{"to":"b","content":"x"}'
    with Http(s.address) as h:
        h.send_raw(b"POST %s HTTP/1.1\r\nHost: h\r\nX-User-ID: %s\r\nContent-Length: %d\r\n\r\n%s"
                   % (SEND.encode(), user, len(body), body))
        return h.answer()


@row("4.send-sender")
def test_a_sender_of_other_scripts_is_passed_on():
    s = shared()
    bob = s.ws(name("bob"))
    body = json.dumps({"to": bob.user, "content": "x"}).encode()
    h = s.http()
    h.send_raw(b"POST %s HTTP/1.1\r\nHost: h\r\nX-User-ID: %s\r\nContent-Length: %d\r\n\r\n%s" %
               (SEND.encode(), "Zoë \U0001f600".encode(), len(body), body))
    success(h.answer())
    bob.recv(from_="Zoë \U0001f600")


@row("4.send-required")
def test_a_send_names_the_field_that_is_missing():
    s = shared()
    failure(s.send("a", None, "x"), 400, "missing_field", "to is required")
    failure(s.send("a", "", "x"), 400, "missing_field", "to is required")
    body = failure(s.send("a", "b"), 400, "missing_field")
    has(body["error"], "content", "data")
    failure(s.post(SEND, "{}", X_User_ID="a"), 400, "missing_field", "to")


@row("4.send-required")
def test_a_send_to_a_ticket_still_needs_a_receiver():
    failure(shared().send("a", None, "x", ticket_id="t"), 400, "missing_field", "to")


@row("4.send-bad")
def test_a_body_that_is_no_message_is_refused_with_the_reason():
    s = shared()
    for body in ("", " ", "{", "[]", "null", '"x"', "to=bob&content=Hi", '{"to":1,"content":"x"}',
                 '{"to":"b","content":1}',
                 '{"to":"b","content":"x","data":[]}', '{"to":"b","to":"b","content":"x"}',
                 '{"to":"b","content":"\\ud800"}',
                 '{"to":"b","content":"x","create_at":"tomorrow"}', '{"to":"b","content":"x","id":""}',
                 '{"to":"' + "b" * 129 + '","content":"x"}',
                 b'{"to":"b","content":"\xff"}', '{"to":"b","content":"x","d":' + "[" * 70 + "]" * 70 + "}"):
        failure(s.post(SEND, body, X_User_ID="a"), 400, "bad_message")
    eq(s.post(SEND, None, X_User_ID="a").status, 400)


@row("4.send-honoured")
def test_type_data_id_priority_and_the_rest_of_a_send_are_honoured():
    s = shared()
    bob = s.ws(name("bob"))
    text = ('{"to":"%s","type":"event","data":{"n":9223372036854775807,"z":1,"a":2},"id":"mine-1","priority":"high",'
            '"reply_to_msg_id":"m0",'
            '"require_ack":false,"create_at":"2026-01-31T12:00:00","own":{"x": 1.50}}' % bob.user)
    d = success(s.post(SEND, text, X_User_ID="a"))["data"]
    eq((d["id"], d["type"]), ("mine-1", "event"))
    m = bob.recv("event", id="mine-1", content="", create_at="2026-01-31T12:00:00Z", priority="high",
                 reply_to_msg_id="m0", require_ack=False)
    has(bob.last, '"data":{"n":9223372036854775807,"z":1,"a":2}', '"own":{"x": 1.50}')
    eq(m["from"], "a")


@row("4.send-honoured")
def test_a_repeated_id_is_sent_again_because_nothing_is_stored():
    s = shared()
    bob = s.ws(name("bob"))
    for _ in range(2):
        eq(success(s.send("a", bob.user, "x", id="same"))["data"]["id"], "same")
    bob.recv(id="same")
    bob.recv(id="same")


@row("4.send-require-ack", "6.require-ack")
def test_a_send_that_asks_for_an_ack_is_not_supported():
    s = shared()
    bob = s.ws(name("bob"))
    failure(s.send("a", bob.user, "x", require_ack=True), 501, "not_supported")
    success(s.send("a", bob.user, "marker"))
    bob.recv(content="marker")


@row("4.send-offline", "6.offline")
def test_a_send_to_an_offline_user_is_404_with_the_reason():
    failure(shared().send("user1", "user2", "Hi"), 404, "user_offline",
            "user2 is offline and nothing is stored (store.kind: none)")


@row("4.send-from", "threat 112")
def test_a_from_in_the_body_must_be_the_sender():
    s = shared()
    bob = s.ws(name("bob"))
    failure(s.send("a", bob.user, "x", **{"from": "mallory"}), 403, "sender_mismatch")
    failure(s.send("a", bob.user, "x", **{"from": "system"}), 403, "sender_mismatch")
    success(s.send("a", bob.user, "mine", **{"from": "a"}))
    bob.recv(content="mine", from_="a")


@row("4.send")
def test_a_ping_or_error_sent_over_http_is_just_a_message():
    s = shared()
    bob = s.ws(name("bob"))
    for kind in ("ping", "heartbeat", "error", "x"):
        success(s.send("a", bob.user, "x", type=kind))
        bob.recv(kind, from_="a")


# ---- broadcast -------------------------------------------------------------------------------------------------------


@row("4.broadcast")
def test_a_broadcast_reaches_every_connection_once_and_counts_them():
    with Server({"workers": 4}) as s:
        ends = [s.ws(f"u{i}") for i in range(6)] + [s.sse(f"s{i}") for i in range(4)] + [s.ws("u0"), s.sse("u0")]
        a = s.post(BROADCAST, {"content": "System announcement", "type": "notice"})
        body = success(a)
        eq(list(body), ["success", "message", "data", "delivered_count"])
        eq(set(body["data"]), {"id", "type", "delivered_count"})
        eq((body["data"]["type"], body["data"]["delivered_count"], body["delivered_count"]), ("notice", 12, 12))
        for e in ends:
            m = e.recv("notice", from_="system", to="", content="System announcement", id=body["data"]["id"])
            eq(set(m), set(KEYS))
        for e in ends[:6]:
            e.quiet()


@row("4.broadcast")
def test_a_broadcast_without_receivers_is_a_success():
    with Server() as s:
        eq(success(s.broadcast("x"))["delivered_count"], 0)


@row("4.broadcast-default-type")
def test_the_type_of_a_broadcast_is_notice_by_default():
    with Server() as s:
        bob = s.ws("bob")
        eq(success(s.broadcast("x"))["data"]["type"], "notice")
        bob.recv("notice")
        eq(success(s.broadcast("y", type="text"))["data"]["type"], "text")
        bob.recv("text")


@row("4.broadcast-required")
def test_a_broadcast_needs_content_or_data():
    with Server() as s:
        bob = s.ws("bob")
        has(failure(s.broadcast(), 400, "missing_field")["error"], "content", "data")
        success(s.broadcast(data={"a": 1}))
        eq(bob.recv()["data"], {"a": 1})


@row("4.broadcast-from")
def test_a_broadcast_is_from_the_header_or_system_and_the_body_may_not_differ():
    with Server() as s:
        bob, alice = s.ws("bob"), s.ws("alice")
        success(s.broadcast("1", sender="alice"))
        bob.recv(content="1", from_="alice")
        alice.recv(content="1", from_="alice")
        success(s.broadcast("2", **{"from": "system"}))
        bob.recv(content="2", from_="system")
        failure(s.broadcast("3", sender="alice", **{"from": "carol"}), 403, "sender_mismatch")
        failure(s.broadcast("3", **{"from": "carol"}), 403, "sender_mismatch")
        failure(s.broadcast("3", sender="alice", **{"from": "system"}), 403, "sender_mismatch")
        failure(s.broadcast("3", sender="system"), 403, "forbidden_user_id")
        success(s.broadcast("4"))
        bob.recv(content="4", from_="system")


@row("4.broadcast-to")
def test_to_of_a_broadcast_is_sent_empty_whatever_the_caller_wrote():
    with Server() as s:
        bob = s.ws("bob")
        for to in ("carol", "", "bob"):
            success(s.broadcast("x", to=to))
            bob.recv(content="x", to="")


# ---- online ----------------------------------------------------------------------------------------------------------


def online_row(s, user):
    rows = s.online("?" + urllib.parse.urlencode({"user_id": user}))["users"]
    eq(len(rows), 1)
    return rows[0]


def at(stamp):
    ok(STAMP.match(stamp), stamp)
    return datetime.datetime.fromisoformat(stamp[:-1] + "+00:00")


@row("4.online")
def test_the_online_list_shows_each_user_once_with_all_fields():
    with Server({"workers": 2}) as s:
        eq(s.online(), {"total": 0, "users": []})
        stream = s.sse("bob", query={"user_type": "agent"})
        r = online_row(s, "bob")
        eq(set(r), {"user_id", "user_type", "type", "status", "connected_at", "last_ping", "connections"})
        eq((r["user_id"], r["user_type"], r["type"], r["status"], r["connections"]),
           ("bob", "agent", "sse", "connected", 1))
        first = at(r["connected_at"])
        time.sleep(0.005)
        ws = s.ws("bob", query={"user_type": "agent"})
        r = online_row(s, "bob")
        eq((r["type"], r["connections"], at(r["connected_at"])), ("websocket", 2, first))
        before = at(r["last_ping"])
        time.sleep(0.01)
        ws.quiet()
        ok(at(online_row(s, "bob")["last_ping"]) > before, "last_ping is the latest byte")
        s.ws("alice")
        d = s.online()
        eq((d["total"], sorted(u["user_id"] for u in d["users"])), (2, ["alice", "bob"]))
        eq(online_row(s, "alice")["user_type"], "customer")
        stream.cut()
        eventually(lambda: online_row(s, "bob")["connections"] == 1, "one connection less")
        ws.close()
        s.gone("bob")
        eq(s.online()["total"], 1)


@row("4.online")
def test_asked_for_ids_are_all_answered_in_their_order_and_total_counts_all():
    with Server({"workers": 3}) as s:
        for u in ("a", "b", "c"):
            s.ws(u)
        d = s.online("?user_id=c&user_id=nobody&user_id=a&user_id=%C3%A9")
        eq(d["total"], 3)
        eq([(u["user_id"], u["status"], u["connections"]) for u in d["users"]],
           [("c", "connected", 1), ("nobody", "offline", 0), ("a", "connected", 1), ("é", "offline", 0)])


@row("4.online")
def test_pages_show_every_user_exactly_once():
    with Server({"workers": 3}) as s:
        users = {f"user {i}é" for i in range(60)}
        for u in users:
            s.ws(u)
        for limit in (1, 7, 59, 60, 61, 1000):
            seen, after, pages = [], None, 0
            while True:
                query = {"limit": limit, **({"after": after} if after is not None else {})}
                d = s.online("?" + urllib.parse.urlencode(query))
                eq(d["total"], 60)
                ok(len(d["users"]) <= limit, limit, len(d["users"]))
                seen += [u["user_id"] for u in d["users"]]
                pages += 1
                after = d.get("next")
                if after is None:
                    break
                ok(pages < 200, "pages without an end")
            eq(len(seen), 60, "limit", limit)
            eq(set(seen), users)
        eq(len(s.online()["users"]), 60)
        first, again = ([u["user_id"] for u in s.online("?limit=10")["users"]] for _ in range(2))
        eq(first, again, "a page asked for twice")


@row("4.online")
def test_a_user_that_stays_online_is_on_exactly_one_page_while_others_come_and_leave():
    with Server({"workers": 2}) as s:
        stay = [s.ws(f"stay{i}") for i in range(30)]
        go = [s.ws(f"go{i}") for i in range(30)]
        seen, after = [], None
        while True:
            d = s.online("?" + urllib.parse.urlencode({"limit": 5, **({"after": after} if after else {})}))
            seen += [u["user_id"] for u in d["users"]]
            after = d.get("next")
            if not after:
                break
            for _ in range(3):
                if go:
                    gone = go.pop()
                    gone.close()
                    s.gone(gone.user)
                s.ws(name("new"))
        for c in stay:
            eq(seen.count(c.user), 1, c.user)


@row("4.online")
def test_bad_requests_for_online_users_are_refused():
    s = shared()
    for query in ("limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=99999999999999999999", "user_id=",
                  "user_id=" + "x" * 129,
                  "user_id=%00", "user_id=%0a", "user_id=%ff", "user_id=%zz", "user_id=%4"):
        failure(s.get(ONLINE + "?" + query), 400, "bad_request")
    success(s.get(ONLINE + "?other=1"))


@row("4.wsc-online")
def test_wsc_online_is_the_same_answer_with_the_older_names():
    with Server() as s:
        s.ws("alice")
        s.sse("bob")
        new, old = success(s.get(ONLINE)), success(s.get("/wsc/online"))
        eq(old.pop("status"), "ok")
        eq(old["data"].pop("count"), 2)
        for d in (new, old):
            for u in d["data"]["users"]:
                del u["last_ping"]
        eq(old, new)
        eq([u["status"] for u in success(s.get("/wsc/online?user_id=nobody"))["data"]["users"]], ["offline"])


# ---- statistics ------------------------------------------------------------------------------------------------------


@row("4.stats", "4.wsc-stats")
def test_statistics_are_true_to_the_unit():
    with Server({"workers": 3, "node_id": "node-7"}) as s:
        zero = s.stats()
        eq(set(zero), {"node_id", "uptime_seconds", "active_connections", "connections_by_type", "online_users",
                       "messages_received",
                       "messages_sent", "broadcasts", "total_lifetime", "messages_dropped", "closed_slow",
                       "closed_replaced", "memory", "last_updated"})
        eq(set(zero["memory"]), {"limit_bytes", "used_bytes", "step"})
        eq((zero["node_id"], zero["messages_received"], zero["total_lifetime"]), ("node-7", 0, 0))
        at(zero["last_updated"])
        alice, bob, bob2, stream = s.ws("alice"), s.ws("bob"), s.ws("bob"), s.sse("carol")
        alice.send(to="bob", content="1")                # received 1, sent 2
        bob.recv(), bob2.recv()
        alice.send(to="carol", content="2")              # received 2, sent 3
        stream.recv()
        alice.send(to="alice", content="3")              # received 3, sent 4
        alice.recv()
        alice.send(to="nobody", content="4")             # refused, since nothing is stored: not counted
        alice.expect_error("user_offline")
        alice.send(content="no recipient")               # refused: not counted
        alice.expect_error("no_recipient")
        alice.send_text("not json")
        alice.expect_error("bad_message")
        alice.send(to="bob", content="x", from_="other")
        alice.expect_error("sender_mismatch")
        alice.quiet()                                    # neither pings nor pongs count
        alice.send(type="ping")
        alice.recv("pong")
        success(s.send("x", "bob", "5"))                 # received 4, sent 6
        bob.recv(), bob2.recv()
        failure(s.send("x", None, "6"), 400, "missing_field")
        success(s.broadcast("7"))                        # broadcasts 1, sent 10
        failure(s.broadcast(), 400, "missing_field")
        got = s.stats()
        want = {"active_connections": 4, "connections_by_type": {"websocket": 3, "sse": 1}, "online_users": 3,
                "messages_sent": 10,
                "broadcasts": 1, "total_lifetime": 4, "messages_received": 4}
        eq({k: got[k] for k in want}, want)
        bob2.close()
        stream.cut()
        s.gone("carol")
        got = s.stats()
        want = {"active_connections": 2, "connections_by_type": {"websocket": 2, "sse": 0}, "online_users": 2,
                "messages_sent": 10,
                "total_lifetime": 4}
        eq({k: got[k] for k in want}, want)
        old = success(s.get("/wsc/stats"))
        eq(old["status"], "ok")
        eq({k: old["data"][k] for k in ("websocket_count", "sse_count", "total_connections", "total_lifetime")},
           {"websocket_count": 2, "sse_count": 0, "total_connections": 2, "total_lifetime": 4})
        of_the_moment = ("last_updated", "uptime_seconds", "memory")
        eq({k: v for k, v in old["data"].items() if k in zero and k not in of_the_moment},
           {k: v for k, v in got.items() if k not in of_the_moment})
        eq(old["data"]["memory"].keys(), got["memory"].keys())


@row("4.stats")
def test_welcomes_and_error_frames_do_not_count_as_sent():
    with Server() as s:
        stream, alice = s.sse("bob"), s.ws("alice")
        for _ in range(3):
            alice.send(to="nobody", content="x")
            alice.expect_error("user_offline")
        eq(s.stats()["messages_sent"], 0)
        stream.cut()


# ---- methods, paths, sizes -------------------------------------------------------------------------------------------


@row("4.405")
def test_a_wrong_method_is_405_with_allow():
    s = shared()
    for path, allowed in ((SEND, "POST"), (BROADCAST, "POST"), (ONLINE, "GET"), (STATS, "GET"), ("/wsc/stats", "GET"),
                          ("/wsc/online", "GET"),
                          ("/ws", "GET"), ("/sse", "GET"), ("/livez", "GET")):
        for method in ("DELETE", "PUT", "PATCH", "POST" if allowed == "GET" else "GET"):
            a = s.ask(method, path, None)
            failure(a, 405, "method_not_allowed")
            allow = [m.strip() for m in a.header("Allow").split(",")]
            ok(allowed in allow and "OPTIONS" in allow and method not in allow, method, path, allow)


@row("4.404", "6.history")
def test_an_unknown_path_is_404():
    s = shared()
    for path in ("/nothing", "/ws/", API + "/history?user_id=a", "//ws", "/WS", "/api/v1/websocket",
                 "/api/v1/websocket/", "/api/v1/websocket/send/", "/wsc", "/..%2fws",
                 "/ws%20", "/api/v1/websocket/send;x", "/%2e%2e/etc/passwd", "/index.php?x=1"):
        failure(s.get(path), 404, "not_found")
    failure(s.post("/nothing", {"a": 1}), 404, "not_found")


@row("4.404")
def test_a_path_may_be_percent_encoded_and_absolute():
    s = shared()
    success(s.get("/wsc/%73tats"))
    with Http(s.address) as h:
        success(h.ask("GET", f"http://127.0.0.1:{s.port}/wsc/stats?x=1"))
    failure(s.get("/wsc/%zz"), 400, "bad_request")
    failure(s.get("/wsc/stats%00"), 400, "bad_request")


@row("4.413", "4.max-body", "1.security.max_message_size", "threat 120")
def test_a_body_that_is_too_large_is_413():
    with Server({"security": {"max_message_size": 2}}) as s:
        bob = s.ws("bob")
        frame = len(json.dumps({"to": "bob", "content": ""}))
        success(s.send("a", "bob", "x" * (2048 - frame)))
        bob.recv()
        failure(s.send("a", "bob", "x" * (2049 - frame)), 413, "body_too_large")
        chunked = [("Transfer-Encoding", "chunked"), ("X-User-ID", "a")]
        failure(s.ask("POST", SEND, b"800\r\n" + b"x" * 2048 + b"\r\n1\r\nx\r\n0\r\n\r\n", chunked), 413,
                "body_too_large")
        failure(s.ask("POST", SEND, b"ffffffffffffffff\r\n", chunked), 413, "body_too_large")
        failure(s.ask("POST", SEND, b"", [("Content-Length", "9999999999999"), ("X-User-ID", "a")]), 413,
                "body_too_large")
        success(s.send("a", "bob", "next"))
        bob.recv(content="next")


@row("4.414", "1.limits", "threat 58")
def test_a_target_that_is_too_long_is_414():
    s = shared()
    success(s.get(STATS + "?" + "x" * (8192 - len(STATS) - 1)))
    failure(s.get(STATS + "?" + "x" * 8192), 414, "uri_too_long")
    failure(s.get("/" + "x" * 100_000), 414, "uri_too_long")
    success(s.get(STATS))


@row("4.431", "1.limits", "threat 32", "threat 63")
def test_a_head_that_is_too_large_is_431():
    s = shared()
    failure(s.ask("GET", STATS, headers=[("X-A", "x" * 16384)]), 431, "headers_too_large")
    failure(s.ask("GET", STATS, headers=[(f"X-{i}", "x") for i in range(64)]), 431, "headers_too_large")
    success(s.ask("GET", STATS, headers=[(f"X-{i}", "x") for i in range(60)]))
    success(s.ask("GET", STATS, headers=[("X-A", "x" * 15000)]))


@row("4.408", "1.limits", "threat 61")
def test_a_request_that_is_too_slow_is_408():
    with Server({"limits": {"header_timeout": "200ms"}}) as s:
        for start in (b"GET /wsc/st", b"GET /wsc/stats HTTP/1.1\r\nHost: h\r\n",
                      b"POST " + SEND.encode()
                      + b" HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\nContent-Length: 10\r\n\r\n{"):
            h = s.http()
            h.send_raw(start)
            failure(h.answer(), 408, "request_timeout")
            h.expect_end()
        success(s.get(STATS))


@row("4.408", "threat 61")
def test_a_client_that_drips_bytes_does_not_hold_its_place_for_ever():
    with Server({"limits": {"header_timeout": "300ms"}}) as s:
        h = s.http()
        h.send_raw(b"GET /wsc/stats HTTP/1.1\r\n")
        end = time.monotonic() + lib.LIMIT
        while not h.has_input():
            ok(time.monotonic() < end, "no answer to a head that never ends")
            try:
                h.send_raw(b"X-A: b\r\n")
            except OSError:
                break
            time.sleep(0.02)
        failure(h.answer(), 408, "request_timeout")


@row("4.503", "1.performance.max_connections_per_node", "threat 127", "threat 178", "owasp.10")
def test_a_full_node_answers_503_with_retry_after():
    with Server({"performance": {"max_connections_per_node": 2}}) as s:
        alice = s.ws("alice")
        keep = s.http()
        success(keep.ask("GET", STATS))
        for attempt in range(3):
            with Http(s.address) as h:
                a = h.ask("GET", STATS)
                failure(a, 503, "overloaded")
                ok(int(a.header("Retry-After")) > 0, a)
                h.expect_end()
        with Http(s.address) as h:                           # full is not dead
            success(h.ask("GET", "/livez"))
        ws = s.ws("bob", check=False)
        failure(ws.answer, 503, "overloaded")
        ok(ws.answer.header("Retry-After"), ws.answer)
        success(keep.ask("GET", STATS))
        alice.quiet()
        keep.cut()

        def served():
            with Http(s.address) as h:
                return h.ask("GET", STATS).status == 200
        eventually(served, "room again")


@row("4.failure-shape")
def test_every_failure_has_the_failure_body():
    s = shared()
    for a, status in ((s.get("/nothing"), 404), (s.ask("DELETE", STATS), 405), (s.post(SEND, "{}"), 401),
                      (s.send("a", "nobody", "x"), 404),
                      (s.post(SEND, "x", X_User_ID="a"), 400), (s.get("/ws"), 426), (s.get("/sse"), 401)):
        eq(a.status, status)
        failure(a, status, a.json()["code"])


# ---- the connection under it -----------------------------------------------------------------------------------------


@row("4.json-whatever-type")
def test_bodies_are_json_whatever_content_type_says():
    s = shared()
    bob = s.ws(name("bob"))
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin1", "image/png",
                 "", None, "nonsense"):
        a = s.ask("POST", SEND, {"to": bob.user, "content": "é"}, [("X-User-ID", "a")]
                  + ([("Content-Type", kind)] if kind is not None else []))
        success(a)
        bob.recv(content="é")


@row("4.head")
def test_head_is_get_without_the_body():
    s = shared()
    h = s.http()
    for path in (ONLINE, "/wsc/online", "/livez", "/openapi.json", "/nothing"):
        get = h.ask("GET", path)
        head = h.ask("HEAD", path)
        eq((head.status, head.body), (get.status, b""))
        eq(head.header("Content-Type"), get.header("Content-Type"))
        eq(head.header("Content-Length"), get.header("Content-Length"), path)
    eq(h.ask("HEAD", STATS).status, 200)
    success(h.ask("GET", STATS))
    eq(h.ask("HEAD", SEND).status, 405)


@row("4.options")
def test_options_answers_a_preflight_of_an_allowed_origin():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        ask = [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "POST"),
               ("Access-Control-Request-Headers", "content-type,x-user-id")]
        a = s.ask("OPTIONS", SEND, headers=ask)
        eq((a.status, a.body), (204, b""))
        eq(a.header("Access-Control-Allow-Origin"), "https://app.example.com")
        has(a.header("Access-Control-Allow-Methods"), "POST")
        has(a.header("Access-Control-Allow-Headers").lower(), "content-type", "x-user-id")
        has(a.header("Vary"), "Origin")
        a = s.ask("OPTIONS", SEND, headers=[("Origin", "https://evil.example.com")] + ask[1:])
        failure(a, 403, "forbidden_origin")
        eq(a.header("Access-Control-Allow-Origin"), None)
        has(s.ask("OPTIONS", ONLINE).header("Allow"), "GET")
        eq(s.ask("OPTIONS", "*").status, 204)
        failure(s.ask("OPTIONS", "/nothing"), 404, "not_found")


@row("4.options", "threat 104")
def test_answers_and_failures_carry_cors_for_an_allowed_origin():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        origin = [("Origin", "https://app.example.com")]
        for a in (s.ask("GET", STATS, headers=origin), s.ask("GET", "/nothing", headers=origin),
                  s.ask("POST", SEND, "{}", origin),
                  s.ask("GET", ONLINE, headers=origin),
                  s.ask("GET", "/livez", headers=origin), s.ask("GET", "/readyz", headers=origin)):
            eq(a.header("Access-Control-Allow-Origin"), "https://app.example.com", a)
            has(a.header("Vary"), "Origin")
        eq(s.get(STATS).header("Access-Control-Allow-Origin"), None)


@row("4.keep-alive")
def test_a_connection_serves_many_requests_failures_included():
    s = shared()
    h = s.http()
    bob = s.ws(name("bob"))
    for i in range(20):
        success(h.ask("GET", STATS))
        failure(h.ask("GET", "/nothing"), 404, "not_found")
        failure(h.ask("POST", SEND, {"to": "nobody", "content": "x"}, [("X-User-ID", "a")]), 404, "user_offline")
        failure(h.ask("POST", SEND, "garbage", [("X-User-ID", "a")]), 400, "bad_message")
        success(h.ask("POST", SEND, {"to": bob.user, "content": str(i)}, [("X-User-ID", "a")]))
        bob.recv(content=str(i))
        eq(h.ask("HEAD", STATS).status, 200)
        success(h.ask("GET", ONLINE + "?user_id=" + bob.user))


@row("4.keep-alive")
def test_connection_close_and_http_1_0_are_respected():
    s = shared()
    h = s.http()
    a = h.ask("GET", STATS, headers=[("Connection", "close")])
    success(a)
    eq(a.header("Connection").lower(), "close")
    h.expect_end()
    h = s.http()
    h.send_raw(b"GET /wsc/stats HTTP/1.0\r\n\r\n")
    success(h.answer())
    h.expect_end()
    h = s.http()
    for _ in range(2):
        h.send_raw(b"GET /wsc/stats HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        success(h.answer())


@row("4.pipelining")
def test_pipelined_requests_are_answered_in_order():
    s = shared()
    bob = s.ws(name("bob"))
    h = s.http()
    n = 40
    parts = []
    for i in range(n):
        parts.append(h.build("POST", SEND, {"to": bob.user, "content": str(i), "id": f"p{i}"}, [("X-User-ID", "a")]))
        parts.append(h.build("GET", ONLINE + f"?user_id=u{i}"))
        parts.append(h.build("GET", f"/nothing{i}"))
        parts.append(h.build("POST", SEND, {"to": "nobody", "content": "x"}, [("X-User-ID", "a")]))
    h.send_raw(b"".join(parts))
    for i in range(n):
        eq(success(h.answer())["data"]["id"], f"p{i}")
        eq(success(h.answer())["data"]["users"][0]["user_id"], f"u{i}")
        failure(h.answer(), 404, "not_found")
        failure(h.answer(), 404, "user_offline")
    for i in range(n):
        bob.recv(content=str(i))


@row("4.pipelining", "threat 129")
def test_a_client_that_shuts_its_side_still_gets_its_answers():
    s = shared()
    h = s.http()
    h.send_raw(h.build("GET", ONLINE) + h.build("POST", SEND, {"to": "nobody", "content": "x"}, [("X-User-ID", "a")]))
    h.shut()
    success(h.answer())
    failure(h.answer(), 404, "user_offline")
    h.expect_end()


@row("4.pipelining", "threat 21")
def test_requests_come_through_one_byte_at_a_time():
    s = shared()
    bob = s.ws(name("bob"))
    h = s.http()
    h.send_slowly(h.build("POST", SEND, {"to": bob.user, "content": "slow"}, [("X-User-ID", "a")])
                  + h.build("GET", STATS))
    success(h.answer())
    success(h.answer())
    bob.recv(content="slow")


@row("4.expect")
def test_expect_100_continue_is_answered_before_the_body_comes():
    s = shared()
    bob = s.ws(name("bob"))
    h = s.http()
    body = json.dumps({"to": bob.user, "content": "x"}).encode()
    h.send_raw(h.build("POST", SEND, None, [("X-User-ID", "a"), ("Expect", "100-continue"),
                                            ("Content-Length", str(len(body)))]))
    a = h.head()
    eq(a.status, 100)
    h.send_raw(body)
    success(h.answer())
    bob.recv(content="x")
    success(h.ask("GET", STATS))


@row("4.expect")
def test_a_request_that_its_head_rules_out_is_refused_before_the_body_comes():
    s = shared()
    h = s.http()
    h.send_raw(h.build("POST", "/nothing", None, [("Expect", "100-continue"), ("Content-Length", "1000")]))
    failure(h.answer(), 404, "not_found")
    h.expect_end()
    h = s.http()
    h.send_raw(h.build("POST", SEND, None, [("X-User-ID", "a"), ("Expect", "100-continue"),
                                            ("Content-Length", "99999999")]))
    failure(h.answer(), 413, "body_too_large")
    h.expect_end()
    failure(s.ask("POST", SEND, b"", [("Expect", "a-pony")]), 417, "bad_request")


@row("4.chunked")
def test_chunked_bodies_are_put_together():
    s = shared()
    bob = s.ws(name("bob"))
    body = json.dumps({"to": bob.user, "content": "chunked é", "filler": "x" * 300}, ensure_ascii=False).encode()

    def chunks(size, trailer=b""):
        parts = [body[i:i + size] for i in range(0, len(body), size)]
        return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailer + b"\r\n"
    h = s.http()
    headers = [("X-User-ID", "a"), ("Transfer-Encoding", "chunked")]
    for wire in (chunks(1), chunks(7), chunks(10_000), chunks(16), chunks(50, b"X-Trailer: y\r\n"),
                 b"00000001" + chunks(1)[1:]):
        success(h.ask("POST", SEND, wire, headers))
        bob.recv(content="chunked é")
    h.send_slowly(h.build("POST", SEND, chunks(40), [("X-User-ID", "a"), ("Transfer-Encoding", "Chunked")]))
    success(h.answer())
    bob.recv(content="chunked é")
    success(h.ask("GET", STATS))


def ambiguous():
    """Requests that two readers could understand in two ways; each must be answered 400 and end its connection."""
    send = SEND.encode()
    body = b'{"to":"victim","content":"smuggled"}'
    n = b"%d" % len(body)
    head = b"POST " + send + b" HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\n"
    get = b"GET /wsc/stats HTTP/1.1\r\nHost: h\r\n"
    inner = b"POST " + send + b" HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\nContent-Length: " + n + b"\r\n\r\n" + body
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    te = b"Transfer-Encoding: chunked\r\n"
    return {
        "two lengths": head + b"Content-Length: " + n + b"\r\nContent-Length: 0\r\n\r\n" + body,
        "the same length twice": head + b"Content-Length: " + n + b"\r\nContent-Length: " + n + b"\r\n\r\n" + body,
        "a list of lengths": head + b"Content-Length: " + n + b", " + n + b"\r\n\r\n" + body,
        "length and chunked": head + b"Content-Length: 4\r\n" + te + b"\r\n" + b"0\r\n\r\n" + inner,
        "chunked and length": head + te + b"Content-Length: 4\r\n\r\n" + b"0\r\n\r\n" + inner,
        "a negative length": head + b"Content-Length: -1\r\n\r\n" + body,
        "a length with a sign": head + b"Content-Length: +" + n + b"\r\n\r\n" + body,
        "a length in hex": head + b"Content-Length: 0x24\r\n\r\n" + body,
        "a length with a space": head + b"Content-Length: 3 6\r\n\r\n" + body,
        "an empty length": head + b"Content-Length: \r\n\r\n" + body,
        "a length beyond all bounds": head + b"Content-Length: 99999999999999999999999999\r\n\r\n" + body,
        "a bare LF": b"GET /wsc/stats HTTP/1.1\nHost: h\n\n",
        "a bare LF in a header": get + b"X-A: b\nX-B: c\r\n\r\n",
        "a bare CR": get + b"X-A: b\rX-B: c\r\n\r\n",
        "NUL in a header": get + b"X-A: b\0c\r\n\r\n",
        "NUL in the target": b"GET /wsc/stats\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        "a control byte in a header": get + b"X-A: b\x0bc\r\n\r\n",
        "a space before the colon": get + b"Content-Length : 0\r\n\r\n",
        "a tab before the colon": get + b"X-A\t: 0\r\n\r\n",
        "a folded line": get + b"X-A: b\r\n c\r\n\r\n",
        "a folded first line": b"GET /wsc/stats HTTP/1.1\r\n Host: h\r\n\r\n",
        "a header without colon": get + b"nonsense\r\n\r\n",
        "a header without name": get + b": x\r\n\r\n",
        "a header name with a space": get + b"X A: x\r\n\r\n",
        "a header name of other letters": get + b"X-\xc3\xa9: x\r\n\r\n",
        "no host": b"GET /wsc/stats HTTP/1.1\r\n\r\n",
        "two hosts": get + b"Host: other\r\n\r\n",
        "a bad host": b"GET /wsc/stats HTTP/1.1\r\nHost: a b\r\n\r\n",
        "a host with a path": b"GET /wsc/stats HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "two transfer encodings": head + te + b"Transfer-Encoding: identity\r\n\r\n" + chunk,
        "chunked twice": head + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunk,
        "chunked not last": head + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + chunk,
        "another transfer encoding": head + b"Transfer-Encoding: gzip\r\n\r\n" + chunk,
        "a quoted transfer encoding": head + b"Transfer-Encoding: \"chunked\"\r\n\r\n" + chunk,
        "a transfer encoding with a tail": head + b"Transfer-Encoding: chunked;x\r\n\r\n" + chunk,
        "chunked in HTTP/1.0": head.replace(b"1.1", b"1.0", 1) + te + b"\r\n" + chunk,
        "a chunk size that is no number": head + te + b"\r\nxyz\r\n",
        "a chunk size with 0x": head + te + b"\r\n0x24\r\n" + body + b"\r\n0\r\n\r\n",
        "a chunk size with a sign": head + te + b"\r\n-1\r\n",
        "a chunk size with a space": head + te + b"\r\n24 \r\n" + body + b"\r\n0\r\n\r\n",
        "a chunk without size": head + te + b"\r\n\r\n",
        "a chunk size of 17 digits": head + te + b"\r\n00000000000000024\r\n" + body + b"\r\n0\r\n\r\n",
        "a chunk extension": head + te + b"\r\n24;a=b\r\n" + body + b"\r\n0\r\n\r\n",
        "a chunk ended by a bare LF": head + te + b"\r\n24\n" + body + b"\r\n0\r\n\r\n",
        "a chunk longer than its size": head + te + b"\r\n5\r\n" + body + b"\r\n0\r\n\r\n",
        "a chunk shorter than its size": head + te + b"\r\n25\r\n" + body + b"\r\n0\r\n\r\n",
        "a bad trailer": head + te + b"\r\n24\r\n" + body + b"\r\n0\r\nbad trailer\r\n\r\n",
        "too many spaces": b"GET  /wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n",
        "a tab for a space": b"GET\t/wsc/stats\tHTTP/1.1\r\nHost: h\r\n\r\n",
        "no version": b"GET /wsc/stats\r\nHost: h\r\n\r\n",
        "a lower-case version": b"GET /wsc/stats http/1.1\r\nHost: h\r\n\r\n",
        "a version with more digits": b"GET /wsc/stats HTTP/1.10\r\nHost: h\r\n\r\n",
        "a method that is no token": b"G@T(/) /wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n",
        "a target without slash": b"GET wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n",
        "a target with a fragment": b"GET /wsc/stats#x HTTP/1.1\r\nHost: h\r\n\r\n",
        "a target with raw bytes": b"GET /wsc/\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        "empty lines": b"\r\n\r\n\r\nGET /wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n",
        "TLS": bytes.fromhex("16030100f8010000f40303") + bytes(200),
        "garbage": bytes(range(256)),
    }


@row("4.ambiguous", "threat 22", "threat 42")
def test_an_ambiguous_request_is_400_and_the_end_and_the_next_client_is_served():
    s = shared()
    victim = s.ws("victim")
    for what, request in ambiguous().items():
        with Http(s.address) as h:
            h.send_raw(request)
            try:
                failure(h.answer(), 400, "bad_request")
                h.expect_end()
            except AssertionError as e:
                raise lib.Wrong(f"{what}: {request[:200]!r}: {e}") from e
        success(s.get(STATS))
    victim.quiet()


@row("4.ambiguous")
def test_no_request_is_read_from_the_body_of_a_refused_request():
    """The server refuses before it reads the body, and must not read the body as a request then."""
    s = shared()
    victim = s.ws("victim2")
    inner = (b'POST %s HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\nContent-Length: 37\r\n\r\n'
             b'{"to":"victim2","content":"smuggled"}') % SEND.encode()
    for start in (b"POST /nothing HTTP/1.1", b"DELETE /wsc/stats HTTP/1.1", b"POST /wsc/stats HTTP/1.1"):
        with Http(s.address) as h:
            h.send_raw(start + b"\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner)
            ok(h.answer().status in (404, 405))
            h.expect_end()
    with Http(s.address) as h:
        h.send_raw(b"GET /wsc/stats HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner
                   + h.build("GET", "/livez"))
        success(h.answer())
        eq(h.answer().json()["data"]["status"], "ok")
    success(s.send("a", "victim2", "marker"))
    victim.recv(content="marker")


@row("4.ambiguous", "threat 67")
def test_other_versions_and_methods_are_refused_by_name():
    s = shared()
    for request, status, code in ((b"GET /wsc/stats HTTP/2.0\r\nHost: h\r\n\r\n", 505, "version_not_supported"),
                                  (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported"),
                                  (b"GET /wsc/stats HTTP/1.2\r\nHost: h\r\n\r\n", 505, "version_not_supported"),
                                  (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 501, "not_implemented")):
        with Http(s.address) as h:
            h.send_raw(request)
            failure(h.answer(), status, code)
            h.expect_end()


@row("4.ambiguous", "threat 119")
def test_a_client_that_leaves_in_the_middle_disturbs_no_other_client():
    s = shared()
    full = Http.build(s.http(), "POST", SEND, {"to": "x", "content": "y" * 100}, [("X-User-ID", "a")])
    for cut in (1, 10, len(full) // 2, len(full) - 1, len(full)):
        for end in ("cut", "reset", "shut"):
            h = Http(s.address)
            h.send_raw(full[:cut])
            getattr(h, end)()
            h.cut()
    success(s.get(STATS))


# ---- probes, documents -----------------------------------------------------------------------------------------------


@row("server.probes", "threat 180")
def test_livez_and_readyz_answer():
    s = shared()
    eq(s.get("/livez").json()["data"]["status"], "ok")
    eq(s.get("/readyz").json()["data"]["status"], "ok")


def schema_of(path, method, status):
    document = lib.openapi()
    responses = document["paths"][path][method]["responses"]
    response = responses.get(str(status)) or responses["default"]
    if "$ref" in response:
        pointer = response["$ref"]
    else:
        pointer = "#/paths/" + path.replace("/", "~1") + f"/{method}/responses/{status}"
    node = document
    for part in pointer[2:].split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    kind, = node["content"]
    return kind, pointer + "/content/" + kind.replace("/", "~1") + "/schema"


@row("server.openapi")
def test_real_answers_match_openapi_json():
    with Server({"security": {"max_message_size": 2}}) as s:
        s.ws("bob", query={"user_type": "vip"})
        s.sse("carol")
        user = {"X_User_ID": "a"}
        seen = 0
        for path, method, a in (
                (SEND, "post", s.send("a", "bob", "x")), (SEND, "post", s.send("a", "nobody", "x")),
                (SEND, "post", s.send("a", None, "x")),
                (SEND, "post", s.post(SEND, "x", **user)), (SEND, "post", s.post(SEND, "{}")),
                (SEND, "post", s.send("system", "b", "x")),
                (SEND, "post", s.send("a", "bob", "x" * 3000)),
                (SEND, "post", s.send("a", "bob", "x", require_ack=True)),
                (BROADCAST, "post", s.broadcast("x")), (BROADCAST, "post", s.broadcast()),
                (BROADCAST, "post", s.broadcast("x", **{"from": "z"})),
                (ONLINE, "get", s.get(ONLINE)), (ONLINE, "get", s.get(ONLINE + "?limit=1")),
                (ONLINE, "get", s.get(ONLINE + "?limit=x")),
                (ONLINE, "get", s.get(ONLINE + "?user_id=bob&user_id=nobody")),
                ("/wsc/online", "get", s.get("/wsc/online?user_id=x&user_id=bob")),
                (STATS, "get", s.get(STATS)), ("/wsc/stats", "get", s.get("/wsc/stats")),
                ("/livez", "get", s.get("/livez")),
                ("/readyz", "get", s.get("/readyz")), ("/ws", "get", s.get("/ws")), ("/sse", "get", s.get("/sse")),
                ("/sse", "get", s.get("/sse?user_id=system")), (STATS, "get", s.ask("DELETE", STATS))):
            kind, pointer = schema_of(path, method, a.status)
            eq(a.header("Content-Type").split(";")[0], kind)
            lib.fits(a.json(), lib.openapi(), pointer)
            seen += 1
        eq(seen, 24)


@row("server.openapi")
def test_the_documents_are_served_as_they_stand_in_the_source():
    s = shared()
    for leaf, version in (("openapi.json", "openapi"), ("asyncapi.json", "asyncapi")):
        a = s.get("/" + leaf)
        eq(a.status, 200)
        with open(f"{lib.ROOT}/web/{leaf}", "rb") as f:
            eq(json.loads(a.body), json.loads(f.read()))
        ok(a.json()[version].startswith("3."), a.json()[version])


@row("server.openapi")
def test_every_path_of_openapi_json_is_there():
    s = shared()
    for path, calls in lib.openapi()["paths"].items():
        for method in calls:
            if method in ("get", "post"):
                ok(s.ask(method.upper(), path, "{}" if method == "post" else None).status not in (404, 405), method,
                   path)


@row("server.asyncapi")
def test_real_messages_match_asyncapi_json():
    with Server() as s:
        alice, bob, stream = s.ws("alice"), s.ws("bob"), s.sse("bob", skip_connected=False)

        def fits(m, schema):
            lib.fits(m, lib.asyncapi(), f"#/components/schemas/{schema}")
        fits(stream.recv("connected"), "Connected")
        alice.send(to="bob", content="x", data={"a": 1}, priority="p", own=1)
        fits(bob.recv(), "Message")
        fits(stream.recv(), "Message")
        alice.send(type="ping")
        fits(alice.recv(), "Pong")
        alice.send(content="x", id="m")
        fits(alice.recv(), "Error")
        success(s.broadcast("x"))
        fits(bob.recv(), "Message")
        stream.recv()
        s.signal(15)
        fits(stream.recv(), "Closed")
        bob.expect_close(1001)
        s.wait()


@row("server.playground", "threat 106")
def test_the_first_page_answers_on_loopback_only():
    s = shared()
    page = s.get("/")
    eq(page.status, 200)
    has(page.header("Content-Type"), "text/html")
    has(page.body.decode(), "<html")
    for leaf in ("/app.js", "/style.css"):
        eq(s.get(leaf).status, 200, leaf)
    loopback = [("Host", "localhost"), ("Host", f"localhost:{s.port}"), ("Host", "127.0.0.1:1"),
                ("Host", "[::1]:8080"), ("Host", "LOCALHOST")]
    for header in loopback:
        eq(s.ask("GET", "/", headers=[header]).status, 200, header)
    for header in (("Host", "example.com"), ("Host", "localhost.example.com"), ("Host", "127.0.0.1.nip.io"),
                   ("X-Forwarded-For", "127.0.0.1"),
                   ("X-Forwarded-Host", "localhost"), ("X-Forwarded-Proto", "http"), ("Forwarded", "for=127.0.0.1"),
                   ("Via", "1.1 proxy"),
                   ("x-forwarded-anything", "")):
        failure(s.ask("GET", "/", headers=[header]), 403, "not_local")


@row("server.playground", "1.admin.token", "threat 106")
def test_the_first_page_does_not_answer_on_another_address_of_this_machine():
    address = own_address()
    if not address:
        return
    with Server({"node_ip": "0.0.0.0"}) as s:
        with Http((address, s.port)) as h:
            failure(h.ask("GET", "/", host="localhost"), 403, "not_local")
            success(h.ask("GET", STATS))


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        try:
            u.connect(("192.0.2.1", 9))
            ip = u.getsockname()[0]
            return ip if not ip.startswith("127.") else None
        except OSError:
            return None
