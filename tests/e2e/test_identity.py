# SPDX-License-Identifier: Apache-2.0
"""The identity of a connection: user_id and X-User-ID, their allowed values, and how a handshake is refused."""
import os
import re

import lib
from lib import API, Http, Server, eq, failure, has, name, ok, row, shared, success

WS_HEADERS = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
              ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


def me(client):
    """The id under which the server knows a WebSocket client: it sends to itself, blindly."""
    client.send(type="ping")
    return client.recv("pong")["to"]


def refusal(s, status, code, text=None, user=None, query=None, headers=(), **more):
    """The same refusal in three forms: /ws by status, /sse by status, /ws of wsc.v1 by close code."""
    closes = {400: 4400, 401: 4401, 403: 4403, 409: 4409, 429: 4429, 503: 1013}
    ws = s.ws(user, query=query, headers=headers, check=False, **more)
    body = failure(ws.answer, status, code, text)
    sse = s.sse(user, query=query, headers=headers, check=False, **more)
    eq(failure(sse.answer, status, code, text), body)
    v1 = s.ws(user, query=query, headers=headers, protocols=["wsc.v1"], **more)
    reason = v1.expect_close(closes[status])
    ok(reason and (text is None or text in reason), "reason", reason)
    return ws.answer


@row("2.query", "threat 94")
def test_user_id_in_the_query_is_the_identity():
    s = shared()
    for user in ("alice", "Zoë", "漢字", "a b", "a+b", "a&b=c", "a/b?c#d", '"quoted"', "\\", "x" * 128, "é" * 64,
                 "\U0001f600", "0", "null", "System"):
        ws = s.ws(user)
        eq(me(ws), user)
        eq(s.sse(user).connected["user_id"], user)
        ws.cut()


@row("2.query")
def test_the_first_user_id_of_the_query_counts_and_a_plus_is_a_space():
    s = shared()
    eq(me(s.ws(query="user_id=first&user_id=second")), "first")
    eq(me(s.ws(query="x=1&&user_id=a+b%20c&y")), "a b c")


@row("2.header")
def test_the_header_is_the_identity_when_the_query_says_nothing():
    s = shared()
    eq(me(s.ws(headers=[("X-User-ID", "alice")])), "alice")
    eq(me(s.ws(headers=[("x-user-id", "  alice  ")])), "alice")
    eq(s.sse(headers=[("X-User-ID", "bob")]).connected["to"], "bob")


@row("2.both")
def test_the_query_wins_over_the_header():
    s = shared()
    eq(me(s.ws("query", headers=[("X-User-ID", "header")])), "query")
    eq(s.sse("query", headers=[("X-User-ID", "header")]).connected["to"], "query")


@row("2.both", "1.security.trusted_proxies")
def test_the_header_of_a_trusted_proxy_wins_over_the_query():
    with Server({"security": {"trusted_proxies": ["127.0.0.1"]}}) as s:
        eq(me(s.ws("query", headers=[("X-User-ID", "header")])), "header")
        eq(s.sse("query", headers=[("X-User-ID", "header")]).connected["to"], "header")
        eq(me(s.ws("query")), "query")
    with Server({"security": {"trusted_proxies": ["10.0.0.0/8"]}}) as s:
        eq(me(s.ws("query", headers=[("X-User-ID", "header")])), "query")


@row("2.header", "1.security.trusted_proxies")
def test_a_repeated_header_gives_no_identity():
    twice = [("X-User-ID", "alice"), ("X-User-ID", "bob")]
    for trusted in ([], ["127.0.0.1"]):
        with Server({"security": {"trusted_proxies": trusted}}) as s:
            refusal(s, 400, "bad_request", "X-User-ID is there twice", user="carol", headers=twice)
            for call in ("/send", "/broadcast"):
                failure(s.ask("POST", API + call, {"to": "a", "content": "x"}, twice), 400, "bad_request")


@row("2.missing", "7.4401", "threat 102", "owasp.5")
def test_without_an_identity_the_answer_is_401_user_id_is_required():
    refusal(shared(), 401, "user_id_required", "user_id is required")
    refusal(shared(), 401, "user_id_required", "user_id is required", query={"x": "1"})


@row("2.ids", "7.4400", "threat 26", "threat 59")
def test_an_id_that_is_none_is_400():
    s = shared()
    for user in ("", "x" * 129, "é" * 65, "a\0b", "a\nb", "a\x7f", "\x85", "\x1b[31m"):
        refusal(s, 400 if user else 401, "bad_request" if user else "user_id_required", query={"user_id": user})
    for raw in ("user_id=%ff", "user_id=%c3%28", "user_id=%ed%a0%80", "user_id=%zz", "user_id=%4"):
        failure(s.ws(query=raw, check=False).answer, 400, "bad_request")
        s.ws(query=raw, protocols=["wsc.v1"]).expect_close(4400)


@row("2.ids")
def test_a_ticket_that_is_none_is_400():
    s = shared()
    for ticket in ("x" * 129, "a\nb"):
        refusal(s, 400, "bad_request", user=name(), query={"ticket_id": ticket})


@row("2.system", "7.4403", "threat 112")
def test_system_is_the_servers_own_id():
    s = shared()
    refusal(s, 403, "forbidden_user_id", user="system")
    refusal(s, 403, "forbidden_user_id", headers=[("X-User-ID", "system")])


@row("2.user-type")
def test_the_user_type_is_customer_by_default_and_one_of_the_allowed():
    s = shared()
    for kind in (None, "customer", "agent", "admin", "bot", "vip", "visitor"):
        user = name()
        ws = s.ws(user, query={"user_type": kind} if kind else {})
        eq(s.online("?user_id=" + user)["users"][0]["user_type"], kind or "customer")
        ws.cut()
    for kind in ("root", "Admin", "admin "):
        refusal(s, 403, "forbidden_user_type", user=name(), query={"user_type": kind})


@row("2.user-type", "1.security.allowed_user_types")
def test_allowed_user_types_decides_which_there_are():
    with Server({"security": {"allowed_user_types": ["pilot", "customer"]}}) as s:
        s.ws("a", query={"user_type": "pilot"})
        eq(s.online("?user_id=a")["users"][0]["user_type"], "pilot")
        refusal(s, 403, "forbidden_user_type", user="b", query={"user_type": "admin"})
    with Server({"security": {"allowed_user_types": ["pilot"]}}) as s:
        refusal(s, 403, "forbidden_user_type", user="b")


@row("2.type-grants-nothing")
def test_in_open_mode_a_user_type_grants_nothing():
    s = shared()
    admin, bob = s.ws(name("admin"), query={"user_type": "admin"}), s.ws(name("bob"))
    admin.send(to=bob.user, content="x", from_=bob.user, id="m")
    admin.expect_error("sender_mismatch", "m")
    admin.send(to=bob.user, content="x", from_="system", id="m")
    admin.expect_error("sender_mismatch", "m")
    admin.send(ticket_id="any", content="x")
    admin.expect_error("not_in_ticket")


@row("2.attributes")
def test_role_device_and_client_type_are_taken_and_disturb_nothing():
    s = shared()
    ws = s.ws(name(), query={"role": "boss", "device_id": "é" * 60, "client_type": "web", "unknown": "x" * 500})
    ws.quiet()
    s.sse(name(), query={"role": "", "device_id": "d", "client_type": "c", "ticket_id": ""})


@row("2.client-id", "threat 29")
def test_each_connection_has_an_unguessable_client_id_of_its_own():
    s = shared()
    ids = []
    for _ in range(30):
        for client in (s.ws("same"), s.sse("same")):
            value = client.answer.header("X-WSC-Client-ID")
            ok(value and re.fullmatch(r"[0-9a-f]{32}", value), "X-WSC-Client-ID:", value)
            ids.append(value)
            client.cut()
    eq(len(set(ids)), len(ids))
    for half in (lambda v: v[:16], lambda v: v[16:]):
        if len({half(v) for v in ids}) == len(ids):
            break
    else:
        lib.fail("no half of the ids is random:", ids)


@row("2.client-id", "1.node_id")
def test_the_node_id_is_in_the_response_heads():
    with Server({"node_id": "gate-7:x_y.z"}) as s:
        eq(s.ws("a").answer.header("X-WSC-Node-ID"), "gate-7:x_y.z")
        eq(s.sse("a").answer.header("X-WSC-Node-ID"), "gate-7:x_y.z")
        eq(s.stats()["node_id"], "gate-7:x_y.z")


@row("1.node_id")
def test_the_node_id_is_made_from_host_name_and_port():
    s = shared()
    has(s.stats()["node_id"], str(s.port), os.uname().nodename.split(".")[0])
    eq(s.ws("a").answer.header("X-WSC-Node-ID"), s.stats()["node_id"])


# ---- refusals --------------------------------------------------------------------------------------------------------


@row("2.refusal")
def test_a_refusal_is_a_status_with_the_failure_body_and_the_connection_ends_or_goes_on():
    s = shared()
    h = s.http()
    failure(h.ask("GET", "/sse"), 401, "user_id_required", "user_id is required")
    success(h.ask("GET", API + "/stats"))
    failure(s.ask("GET", "/ws", headers=WS_HEADERS), 401, "user_id_required", "user_id is required")


@row("2.refusal", "owasp.2")
def test_a_request_without_a_websocket_handshake_of_version_13_is_426():
    s = shared()
    a = s.get("/ws?user_id=a")
    failure(a, 426, "upgrade_required")
    eq(a.header("Upgrade").lower(), "websocket")
    a = s.ask("GET", "/ws?user_id=a", headers=[(k, "8" if k.endswith("Version") else v) for k, v in WS_HEADERS])
    failure(a, 426, "upgrade_required")
    eq(a.header("Sec-WebSocket-Version"), "13")
    eq(a.header("Upgrade"), "websocket")
    failure(s.ask("GET", "/ws?user_id=a", headers=WS_HEADERS[1:]), 426, "upgrade_required")
    failure(s.ask("GET", "/ws?user_id=a", headers=[WS_HEADERS[0]] + WS_HEADERS[2:]), 426, "upgrade_required")


@row("2.refusal")
def test_a_malformed_key_is_400():
    s = shared()
    for key in ("", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZSE=extra",
                "!!!!IHNhbXBsZSBub25jZQ=="):
        failure(s.ask("GET", "/ws?user_id=a", headers=WS_HEADERS[:3] + [("Sec-WebSocket-Key", key)]), 400,
                "bad_request")
    failure(s.ask("GET", "/ws?user_id=a", headers=WS_HEADERS[:3]), 400, "bad_request")


@row("2.refusal", "threat 57")
def test_the_upgrade_headers_are_read_as_lists_in_any_case():
    s = shared()
    for connection, upgrade in (("keep-alive, Upgrade", "websocket"), ("upgrade", "WebSocket"),
                                ("x,UPGRADE , y", "WEBSOCKET")):
        s.ws("a", headers=[("Connection", connection), ("Upgrade", upgrade)]).quiet()


@row("2.wsc-v1")
def test_wsc_v1_is_agreed_on_and_the_connection_works():
    s = shared()
    for protocols in (["wsc.v1"], ["other", "wsc.v1"], ["wsc.v1", "graphql-ws"]):
        ws = s.ws(name(), protocols=protocols)
        eq(ws.answer.header("Sec-WebSocket-Protocol"), "wsc.v1")
        ws.quiet()


@row("2.unknown-offers", "threat 20", "threat 182")
def test_unknown_subprotocols_and_extensions_are_ignored():
    s = shared()
    for headers in ([("Sec-WebSocket-Protocol", "chat, superchat")], [("Sec-WebSocket-Protocol", "WSC.V1")],
                    [("Sec-WebSocket-Protocol", "")],
                    [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")],
                    [("Sec-WebSocket-Extensions", "x-unknown; a=1, permessage-bzip2")]):
        ws = s.ws(name(), headers=headers)
        eq(ws.answer.header("Sec-WebSocket-Protocol"), None)
        eq(ws.answer.header("Sec-WebSocket-Extensions"), None)
        ws.quiet()


@row("2.wsc-v1", "1.websocket_origins")
def test_a_forbidden_origin_is_refused_in_all_three_forms():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        refusal(s, 403, "forbidden_origin", user="a", headers=[("Origin", "https://evil.example")])


@row("2.refusal", "1.websocket_origins", "1.security.blocked_ips")
def test_a_forbidden_client_gets_403_before_426_and_no_page_of_its_origin_reads_it():
    evil = [("Origin", "https://evil.example")]
    for config, code in (({"websocket_origins": []}, "forbidden_origin"),
                         ({"websocket_origins": [], "security": {"blocked_ips": ["127.0.0.1"]}}, "forbidden_ip")):
        with Server(config) as s:
            for headers in ([], WS_HEADERS[1:], WS_HEADERS):
                a = s.ask("GET", "/ws?user_id=a", headers=evil + headers)
                failure(a, 403, code)
                eq(a.header("Access-Control-Allow-Origin"), None)


@row("2.wsc-v1", "1.security.blocked_ips", "1.security.whitelist")
def test_a_blocked_address_is_refused_in_all_three_forms():
    with Server({"security": {"blocked_ips": ["127.0.0.0/8"]}}) as s:
        refusal(s, 403, "forbidden_ip", user="a")
        failure(s.get(API + "/stats"), 403, "forbidden_ip")
    with Server({"security": {"enable_ip_whitelist": True, "whitelist_ips": ["10.0.0.0/8"]}}) as s:
        refusal(s, 403, "forbidden_ip", user="a")
        failure(s.send("a", "b", "x"), 403, "forbidden_ip")


@row("2.wsc-v1", "threat 31", "threat 65")
def test_a_request_behind_a_refused_handshake_is_not_served():
    s = shared()
    bob = s.ws(name("bob"))
    ws = s.ws("system", check=False, behind=Http.build(s.http(), "POST", API + "/send",
                                                       {"to": bob.user, "content": "x"}, [("X-User-ID", "a")]))
    failure(ws.answer, 403, "forbidden_user_id")
    ws.expect_end()
    success(s.send("a", bob.user, "marker"))
    bob.recv(content="marker")


@row("2.refusal")
def test_a_refused_connection_leaves_nothing_behind():
    with Server() as s:  # of its own: connections that other tests leave behind would be counted
        for _ in range(5):
            s.ws("system", check=False).cut()
            s.sse(check=False).cut()
        after = s.stats()
        eq((after["active_connections"], after["total_lifetime"]), (0, 0))
