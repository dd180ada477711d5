#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the hand-made inputs of fuzz_connection: little programs, see tests/fuzz/README.md.

usage: seeds.py DIRECTORY
"""
import pathlib
import sys

TURN = 0x80
CALM = bytes([0, 0, 0, 1])


def op(number, slot, *rest, turn=True):
    body = b"".join(r if isinstance(r, bytes) else bytes([r]) for r in rest)
    return bytes([number | (TURN if turn else 0), slot]) + body


def ws(slot, user, how=0, **k):
    return op(0, slot, user, how, **k)


def sse(slot, user, how=0, **k):
    return op(1, slot, user, how, **k)


def raw(slot, how=0):
    return op(2, slot, how)


def http(slot, how=0):
    return op(3, slot, how)


def program(what, who):
    return op(4, 0, what, who)


def finish(which, yes):
    return op(5, 1 if yes else 0, which)


def clock(units, long=True, at_once=False):
    return op(6, (1 if long else 0) | (2 if at_once else 0), units)


def accept_fault(kind):
    return op(7, kind)


def stop(tens):
    return op(8, 0, tens)


def settle():
    return op(9, 0)


def feed(slot, text, cut=0, turn=True):
    out = b""
    while text:
        piece, text = text[:255], text[255:]
        out += op(10, slot, len(piece), cut, piece, turn=turn)
    return out


def frame(slot, first, payload, long_length=False):
    return op(11, slot, first, len(payload) | (0x80 if long_length else 0), payload)


def send(slot, to, how=0, **k):
    return op(12, slot, to, how, **k)


def broken(slot, to, kind):
    return op(13, slot, to, kind)


def post(slot, who, how=0, **k):
    return op(14, slot, who, how, **k)


def get(slot, which, **k):
    return op(15, slot, which, **k)


def stall(slot):
    return op(16, slot)


def leave(slot, reset):
    return op(17, slot, 1 if reset else 0)


def close(slot, code):
    return op(18, slot, code)


def ping(slot, payload=b"", many=False, pong=False):
    n = len(payload) | (0x80 if many else 0)
    assert (n & 1) == pong
    return op(19, slot, n, payload)


def offer(server_no_takeover=False, client_no_takeover=False, server=0, client=0):
    """server: none, 8, 9, 10, 12, 14, 15, a bad offer first; client: none, without a value, 8, 9, 10, 12, 15, quoted 11"""
    return (1 if server_no_takeover else 0) | (2 if client_no_takeover else 0) | server << 2 | client << 5


def zws(slot, user, terms=0, how=0):
    """A WebSocket that offers to deflate, to a gateway that may."""
    return op(0, slot, user, how | 0x20, terms)


def zsend(slot, to, how=0, style=0, **k):
    return op(20, slot, to, how, style, **k)


def zbroken(slot, to, kind):
    return op(21, slot, to, kind)


def head(first=0, second=0, hooks=0, dice=1, deflate=True, takeover=False, min_bytes=0, bits=0, quick=False, little=False, big=False,
         workers=0, tls=False, only_1_3=False, where=0):
    """The longer head. min_bytes: 0, 128, 256, 600; bits: 15, 9, 11, 13; where: beside plain text, alone, on a port of its own."""
    return bytes([first | 3, second, hooks, dice,
                  (1 if deflate else 0) | (2 if takeover else 0) | min_bytes << 2 | bits << 4 | (0x40 if quick else 0) |
                  (0x80 if little else 0),
                  (1 if tls else 0) | (4 if only_1_3 else 0) | where << 3 | (0x20 if big else 0) | workers << 6])


def secured(*a, **k):
    return head(*a, deflate=False, tls=True, **k)


# Clients of a gateway that speaks TLS have a byte more, or two: how they speak it.
V12, RESUME, HTTP11, H2, OTHER_GROUP, PROXIED, STOPS = 1, 2, 4, 8, 16, 32, 192
IN_CLEAR = 0x80


def tls(how, stops_at=None):
    assert (how & STOPS == STOPS) == (stops_at is not None)
    return bytes([how] if stops_at is None else [how, stops_at // 4])


def tdial(number, slot, user, how, t, terms, amid):
    """A handshake takes some turns: all of them, unless the next instructions come @amid them."""
    return (op(number, slot, *([] if user is None else [user]), how, *([] if how & IN_CLEAR else [t]), *([] if terms is None else [terms])) +
            (b"" if amid else settle()))


def tws(slot, user, how=0, t=tls(0), terms=None, amid=False):
    return tdial(0, slot, user, how | (0 if terms is None else 0x20), t, terms, amid)


def tsse(slot, user, how=0, t=tls(0), amid=False):
    return tdial(1, slot, user, how, t, None, amid)


def traw(slot, how=0, t=tls(0), amid=False):
    return tdial(2, slot, None, how, t, None, amid)


def thttp(slot, how=0, t=tls(0), amid=False):
    return tdial(3, slot, None, how, t, None, amid)


def below(slot, what, who=0, **k):
    """what: 0 plain bytes between the records, 1 + 5 n a wrong bit in byte n, 2 parts, 3 close_notify, 4 new keys"""
    return op(22, slot, what, who, **k)


def reload(how):
    return op(23, 0, how)


HANDSHAKE = (b"GET /ws?user_id=u1&ticket_id=t0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
END = b"\r\n"


def masked(first, payload, key=b"\x11\x22\x33\x44"):
    n = len(payload)
    head = bytes([first, 0x80 | n]) if n < 126 else bytes([first, 0xfe, n >> 8, n & 255])
    return head + key + bytes(b ^ key[i & 3] for i, b in enumerate(payload))


POST = b"POST /api/v1/websocket/send HTTP/1.1\r\nHost: a\r\nX-User-ID: u2\r\n"
BODY = b'{"to":"u1","content":"hi"}'

SEEDS = {
    # everything goes well
    "two_talk": CALM + ws(0, 0) + ws(1, 1) + send(0, 1) + send(1, 0) + send(0, 1, 0x10) + settle(),
    "one_worker": bytes([1, 0, 0, 1]) + ws(0, 0) + ws(1, 1) + send(0, 1) + send(1, 0, 0x50),
    "three_workers": bytes([2, 0, 0, 1]) + b"".join(ws(i, i) for i in range(4)) +
                     b"".join(send(i, (i + 1) % 4, i) for i in range(4)),
    "to_oneself": CALM + ws(0, 2) + send(0, 2) + send(0, 2, 0x20),
    "two_devices": CALM + ws(0, 1) + ws(1, 1) + sse(2, 1) + ws(3, 0) + send(3, 1) + send(0, 1),
    "tickets": CALM + ws(0, 0x10) + ws(1, 0x11) + sse(2, 0x12) + ws(3, 0x33) + send(0, 0x40) + send(3, 0x41) + send(3, 0x40),
    "offline": CALM + ws(0, 0) + send(0, 3) + send(0, 2) + settle(),
    "long_fragments": CALM + ws(0, 0) + ws(1, 1) + send(0, 1, 0x1f) + send(0, 1, 0x7f) + send(0, 1, 0xff),
    "stream": CALM + sse(0, 1) + ws(1, 0) + send(1, 1) + program(0, 0x80) + clock(20),
    "stream_resumes": CALM + sse(0, 0x41) + program(0, 1),
    "post": CALM + ws(0, 1) + http(1) + post(1, 1) + post(1, 1, 0x10) + post(1, 5, 0x20) + post(1, 2, 0x85),
    "pipeline": CALM + ws(0, 1) + http(1) + b"".join(post(1, 1, 3, turn=False) for _ in range(6)) + get(1, 0, turn=False) +
                get(1, 2, turn=False) + post(1, 0x83, 0x80, turn=False) + settle(),
    "pages": CALM + ws(0, 1) + sse(2, 0) + http(1) + b"".join(get(1, i) for i in range(11)),
    "broadcast": bytes([2, 0, 0, 1]) + b"".join(ws(i, i) for i in range(3)) + sse(3, 3) + program(0, 0x80) + program(1, 0x81),
    "program": CALM + ws(0, 0x10) + program(0, 0) + program(0, 3) + program(0, 0x40) + program(3, 0) + program(2, 0) + settle(),
    "extensions_offered": CALM + ws(0, 0, 0x20) + ws(1, 1, 0x70) + send(0, 1),
    "interrupted": bytes([0xc0, 0, 0, 1]) + ws(0, 0) + ws(1, 1) + sse(2, 1) + http(3) + send(0, 1) + post(3, 1) + send(1, 0) + settle(),
    # time
    "silence": CALM + ws(0, 0) + sse(1, 1) + http(2) + raw(3) + clock(15) + clock(40) + clock(255),
    "a_jump": CALM + ws(0, 0) + sse(1, 1) + http(2) + clock(255, at_once=True) + ws(3, 2),
    "slow_head": CALM + raw(0) + feed(0, b"GET / HT") + clock(5) + feed(0, b"TP/1.1\r\n") + clock(20),
    "slow_body": CALM + raw(0) + feed(0, POST + b"Content-Length: 26\r\n\r\n{") + clock(50),
    "creep": bytes([0x20, 0, 0, 1]) + ws(0, 0) + ws(1, 1) + send(0, 1) + clock(9, False),
    "creep_more": bytes([0x30, 0, 0, 1]) + ws(0, 0) + sse(1, 1) + send(0, 1) + program(0, 0x80) + clock(9, False),
    # turns
    "requests_wait_their_turn": bytes([1, 0, 0, 1]) + b"".join(http(i) for i in range(6)) +
                                b"".join(get(i, 0, turn=False) for i in range(6) for _ in range(120)) + settle(),
    # pressure
    "slow_reader": bytes([0, 1, 0, 1]) + ws(0, 1, 0x0c) + ws(1, 0) + stall(0) +
                   b"".join(send(1, 1, 0x0f) for _ in range(12)) + settle() + stall(0) + settle(),
    "slow_reader_gap": bytes([0, 5, 0, 1]) + ws(0, 1, 0x08) + sse(2, 1, 0x08) + ws(1, 0) + stall(0) + stall(2) +
                       b"".join(send(1, 1, 0x0f) for _ in range(12)) + settle() + stall(0) + stall(2) + send(1, 1),
    "small_window": bytes([0, 0, 0, 1]) + ws(0, 1, 0x0c) + ws(1, 0, 0x08) + send(1, 1, 0x0f) + send(0, 0, 0x0f),
    "burst": bytes([0, 2, 0, 1]) + ws(0, 1) + ws(1, 0) + b"".join(send(1, 1, turn=False) for _ in range(20)) + settle(),
    "answers_pile_up": CALM + http(0, 0x08) + stall(0) + b"".join(get(0, 11) for _ in range(8)) + settle() + stall(0),
    "rates": bytes([0, 0x80, 0, 1]) + ws(0, 0) + ws(1, 1) + b"".join(send(0, 1) for _ in range(9)) + clock(200) + send(0, 1),
    "pings": CALM + ws(0, 0) + ping(0, b"ab") + ping(0, b"abcd", True) + ping(0, b"x", pong=True) + clock(9),
    "ping_flood": bytes([0, 0x80, 0, 1]) + ws(0, 0, 0x0c) + stall(0) + b"".join(ping(0, b"0123456789", True) for _ in range(14)) +
                  stall(0),
    "full_house": bytes([0, 0, 0x80, 1]) + b"".join(ws(i, i) for i in range(5)) + http(5) + get(5, 0) + leave(0, False) + ws(6, 0),
    "accept_faults": CALM + accept_fault(1) + ws(0, 0) + clock(3) + accept_fault(2) + ws(1, 1) + accept_fault(0) + ws(2, 2) + clock(9),
    # logins
    "replace": bytes([0, 0x20, 0, 1]) + ws(0, 1) + ws(1, 1) + sse(2, 1) + sse(2, 1) + ws(3, 0) + send(3, 1),
    "reject": bytes([0, 0x28, 0, 1]) + ws(0, 1) + ws(1, 1) + ws(2, 1, 0x10) + sse(3, 1),
    "sse_evicted": bytes([0, 0x20, 0, 1]) + sse(0, 1) + sse(1, 1) + settle() + sse(0, 1) + clock(60) + sse(0, 1),
    # ends
    "close_handshake": CALM + b"".join(ws(i, i) for i in range(4)) + b"".join(close(i, i) for i in range(4)) + ws(4, 0) + close(4, 5),
    "resets": CALM + ws(0, 0) + ws(1, 1) + sse(2, 2) + http(3) + send(0, 1) + leave(0, True) + leave(2, True) + leave(3, True) +
              send(1, 0),
    "half_close": CALM + http(0) + post(0, 1, turn=False) + leave(0, False) + ws(1, 1) + leave(1, False),
    "kick": CALM + ws(0, 1) + sse(1, 1) + ws(2, 0) + send(2, 1, turn=False) + program(2, 1) + send(2, 1) + program(2, 9),
    "no_answer_to_close": CALM + ws(0, 1, 0x0c) + stall(0) + program(2, 1) + clock(60) + stall(0),
    "drain": CALM + ws(0, 0) + sse(1, 1) + http(2) + get(2, 0, turn=False) + send(0, 1, turn=False) + stop(100) + settle() + ws(3, 3),
    "drain_cut": CALM + ws(0, 0, 0x0c) + stall(0) + program(0, 0) + stop(0) + clock(2),
    # hooks
    "hooks": bytes([0, 0, 0x3f, 7]) + b"".join(ws(i, i) for i in range(4)) + sse(4, 1) + http(5) +
             b"".join(send(i, 3 - i) for i in range(4)) + post(5, 1) + post(5, 2, 0x80) + finish(0, True) + finish(1, False) +
             program(0, 1) + program(0, 0x80) + clock(9) + b"".join(send(i, 3 - i) for i in range(4)) + settle(),
    "hooks_wait": bytes([0, 0, 0x04, 3]) + ws(0, 0) + ws(1, 1) + b"".join(send(0, 1, turn=False) for _ in range(9)) +
                  b"".join(finish(0, i & 1) for i in range(6)) + send(0, 1),
    "hooks_too_late": bytes([0, 0, 0x0e, 5]) + b"".join(ws(i, i) for i in range(4)) + clock(9) +
                      b"".join(send(i, 3 - i) for i in range(4)) + clock(9) + finish(0, True) + finish(0, True),
    "hooks_and_gone": bytes([0, 0, 0x07, 9]) + b"".join(ws(i, i, turn=False) + leave(i, True) for i in range(6)) +
                      b"".join(finish(0, True) for _ in range(4)),
    "hooks_refuse_late": bytes([0, 0, 0x02, 102]) + b"".join(sse(i, i) for i in range(4)) + finish(0, False) + finish(0, False) +
                         b"".join(clock(255) for _ in range(4)),
    "hooks_time_out": bytes([0, 0, 0x02, 102]) + b"".join(ws(i, i) for i in range(4)) + b"".join(clock(255) for _ in range(4)),
    "hooks_authenticate_late": bytes([1, 0x28, 0x01, 81]) + ws(0, 1) + sse(1, 1) + ws(2, 1) + b"".join(clock(255) for _ in range(4)),
    "hooks_program_waits": bytes([0, 0, 0x08, 106]) + ws(0, 1) + ws(1, 1) + b"".join(program(0, 1) for _ in range(5)) + finish(0, True) +
                           settle(),
    "overwrite": bytes([0, 0, 0x40, 1]) + ws(0, 0) + ws(1, 1) +
                 frame(0, 0x81, b'{"from":"somebody","to":"u1","content":"x"}') + send(0, 1),
    # wrong frames
    "interrupted_and_chopped": bytes([0xc8, 0, 0, 1]) + ws(0, 0) + ws(1, 1) + send(0, 1, 0x1f) + sse(2, 1) + send(0, 1),
    "chopped_64": bytes([0x4c, 0, 0, 1]) + ws(0, 0) + sse(1, 1) + http(2) + send(0, 1, 0x0f) + post(2, 1, 0x15) + get(2, 5),
    # bytes from nowhere
    "raw_ws": CALM + ws(1, 0) + raw(0) + feed(0, HANDSHAKE + END) +
              feed(0, masked(0x81, b'{"to":"u0","content":"hello"}') + masked(0x81, b"ping") + masked(0x89, b"x")) +
              feed(0, masked(0x88, b"\x03\xe8bye")),
    "raw_ws_one_by_one": CALM + raw(0) + feed(0, HANDSHAKE + END, 1) + feed(0, masked(0x01, b'{"to":') + masked(0x80, b'"u1"}'), 1),
    "raw_ws_early": CALM + raw(0) + feed(0, HANDSHAKE + END + masked(0x81, b'{"to":"u1","type":"heartbeat"}')),
    "raw_bad_key": CALM + raw(0) + feed(0, HANDSHAKE.replace(b"==", b"=") + END),
    "raw_bad_version": CALM + raw(0) + feed(0, HANDSHAKE.replace(b"13", b"8") + b"Sec-WebSocket-Protocol: wsc.v1\r\n" + END),
    "raw_no_user": CALM + raw(0) + feed(0, HANDSHAKE.replace(b"user_id", b"user") + b"Sec-WebSocket-Protocol: wsc.v1\r\n" + END),
    "raw_origin": CALM + raw(0) + feed(0, HANDSHAKE + b"Origin: https://evil.example\r\n" + END) + raw(1) +
                  feed(1, HANDSHAKE + b"Origin: https://a.example.com\r\n" + END),
    "raw_sse": CALM + raw(0) + feed(0, b"GET /sse HTTP/1.1\r\nHost: a\r\nX-User-ID: u1\r\nLast-Event-ID: 01ARZ\r\n\r\n") + program(0, 0x80) +
               feed(0, b"noise") + raw(1) + feed(1, b"HEAD /sse HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    "raw_pipeline": CALM + raw(0) + feed(0, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + POST + b"Content-Length: 26\r\n\r\n" + BODY +
                                         b"HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n" + HANDSHAKE + END + masked(0x81, BODY), 50),
    "raw_chunked": CALM + raw(0) + feed(0, POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"to\"\r\n15\r\n:\"u1\",\"content\":\"hi\"}\r\n0\r\n\r\n", 9),
    "raw_bad_chunk": CALM + raw(0) + feed(0, POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"to\"XX0\r\n\r\n"),
    "raw_two_lengths": CALM + raw(0) + feed(0, POST + b"Content-Length: 26\r\nContent-Length: 2\r\n\r\n" + BODY),
    "raw_bad": CALM + raw(0) + feed(0, b"GET / HTTP/1.1\nHost: a\n\n") + raw(1) + feed(1, b"\x16\x03\x01\x02\x00") + raw(2) +
               feed(2, b"GET /\x00 HTTP/1.1\r\n\r\n"),
    "raw_expect": CALM + raw(0) + feed(0, POST + b"Expect: 100-continue\r\nContent-Length: 26\r\n\r\n") + feed(0, BODY),
    "raw_expect_bit_by_bit": CALM + raw(0) + feed(0, POST + b"Expect: 100-continue\r\nContent-Length: 26\r\n\r\n" + BODY, 9),
    "raw_options": CALM + raw(0) + feed(0, b"OPTIONS /api/v1/websocket/send HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n"
                                           b"Access-Control-Request-Method: POST\r\n\r\nDELETE /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    "raw_proxy1": CALM + raw(0, 2) + feed(0, b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n" + HANDSHAKE + END, 7) + raw(1, 2) +
                  feed(1, b"PROXY nonsense\r\n"),
    "raw_proxy2": CALM + raw(0, 2) + feed(0, b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x05\x00\x50" +
                                          HANDSHAKE + END),
    "raw_forwarded": CALM + raw(0, 2) + feed(0, HANDSHAKE + b"X-Forwarded-For: 192.0.2.9, 10.1.1.1\r\nX-User-ID: u3\r\n" + END),
    "raw_fold": CALM + raw(0) + feed(0, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n") + raw(1) +
                feed(1, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    "raw_too_long": CALM + raw(0) + feed(0, b"GET /" + b"a" * 600 + b" HTTP/1.1\r\n") + raw(1) +
                    feed(1, b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(70)) + b"\r\n"),
    "raw_endless_head": CALM + raw(0) + feed(0, b"GET / HTTP/1.1\r\nX: " + b"y" * 3000),
    "raw_last_event_id": CALM + raw(0) + feed(0, b"GET /sse?user_id=u2&Last-Event-ID=%00%ff HTTP/1.1\r\nHost: a\r\nLast-Event-ID: \xff\r\n\r\n"),
    "frames": CALM + ws(0, 0) + ws(1, 1) + frame(0, 0x81, b'{"to":"u1","content":"\\u0000\\ud83d\\ude00"}') +
              frame(0, 0x82, b'{"to":"u1","data":{"a":1}}') + frame(0, 0x81, b"ping") + frame(0, 0x81, b'{"type":"ping"}') +
              frame(0, 0x81, b'{"type":"ack"}') + frame(0, 0x81, b"not json") + frame(0, 0x81, b"") + frame(0, 0x81, b'{"to":5}') +
              frame(0, 0x01, b'{"to":"u1",') + frame(0, 0x89, b"mid") + frame(0, 0x00, b"") + frame(0, 0x80, b'"content":"x"}'),
    "frames_bad_data": CALM + ws(0, 0) + frame(0, 0x81, b'{"to":"u1","content":"a","content":"b"}') +
                       frame(0, 0x81, b'{"to":"\\ud800","content":"a"}') + frame(0, 0x81, b'{"to":"u1","content":"a","create_at":"soon"}') +
                       frame(0, 0x81, b'{"to":"u1","from":"u2","content":"a"}') + frame(0, 0x81, b"[" * 70),
    "frames_close": CALM + ws(0, 0) + frame(0, 0x88, b"\x03\xe8" + b"why" * 9) + ws(1, 1) + frame(1, 0x88, b"\x00"),
    "frame_long_form": CALM + ws(0, 0) + frame(0, 0x81, b"{}", True),
    "many_empty_fragments": CALM + ws(0, 0) + b"".join(frame(0, 0x01 if i == 0 else 0, b"") for i in range(10)),
}
for number, name in enumerate(["unmasked", "rsv", "opcode", "long_ping", "lone_continuation", "utf8", "too_big", "long_length",
                               "nested", "top_bit"]):
    SEEDS["broken_" + name] = CALM + ws(0, 0) + ws(1, 1) + send(0, 1) + broken(0, 1, number) + settle() + send(1, 0)

# compression
BOTH = offer(True, True)
SEEDS |= {
    "deflate": head() + zws(0, 0) + zws(1, 1, BOTH) + zws(2, 1, offer(client=1)) + ws(3, 1) + zsend(0, 1, 5) + zsend(1, 0, 5) +
               send(3, 0, 9) + send(0, 1, 0x1f) + settle(),
    "deflate_takeover": head(takeover=True) + zws(0, 0) + zws(1, 1) + b"".join(zsend(0, 1, 5, i) + zsend(1, 0, 0x13 + i) for i in range(4)) +
                        send(0, 1, 0x1c) + zsend(0, 1, 3) + zsend(1, 0, 3) + settle(),
    "deflate_one_way": head(takeover=True) + zws(0, 0, offer(True)) + zws(1, 1, offer(False, True)) +
                       b"".join(zsend(0, 1, 7) + zsend(1, 0, 7) for _ in range(3)),
    "deflate_styles": head(takeover=True) + zws(0, 0) + zws(1, 1, BOTH) +
                      b"".join(zsend(0, 1, 0x1a, i) + zsend(1, 0, 0x2a, i) for i in (0, 4, 8, 12, 16, 20, 28, 3, 7)),
    "deflate_stored": head(takeover=True) + zws(0, 0) + zws(1, 1, offer(client=2)) +
                      b"".join(zsend(0, 1, 0x1a, i) + zsend(1, 0, 0xda, i) for i in (3, 7, 11, 19)),
    "deflate_windows": head(takeover=True) + b"".join(zws(i, i, offer(server=1 + i, client=2 + i)) for i in range(4)) +
                       b"".join(zsend(i, (i + 1) % 4, 0x0f) for i in range(4)) + program(0, 0x80) + program(0, 0x80),
    "deflate_small_windows": head(bits=1) + b"".join(zws(i, i & 1, offer(server=i % 3, client=1)) for i in range(6)) +
                             b"".join(zsend(i, (i + 1) & 1, 0x0f) for i in range(4)) + send(0, 1, 0x0f) + send(1, 0, 0x0f),
    "deflate_windows_shared": head() + zws(0, 1) + b"".join(zws(6 - i, 1, offer(server=i)) for i in range(5, 0, -1)) + zws(6, 0) +
                              zsend(6, 1, 0x0f) + zsend(6, 1, 0x0b) + settle(),
    "deflate_pong": head(takeover=True) + zws(0, 0) + zws(1, 0, BOTH) + ping(0, b"ab") + ping(1, b"ab") + zsend(0, 0, 3) + ping(0, b"ab") +
                    ping(0, b"ab") + zsend(1, 0, 3),
    "deflate_windows_kept": head(takeover=True, bits=1, big=True) + zws(0, 0) + zws(1, 1) + zsend(0, 1, 0, 0x20) + zsend(0, 1, 0, 0x20) +
                            send(0, 1, 0x0f) + zsend(1, 0, 0, 0x23) + zsend(1, 0, 0, 0x28),
    "deflate_min": head(min_bytes=3) + zws(0, 0) + zws(1, 1) + send(0, 1) + send(0, 1, 3) + send(0, 1, 5) + zsend(0, 1, 0x0f),
    "deflate_bad_offer_first": head(quick=True) + zws(0, 0, offer(server=7, client=7)) + zws(1, 1, offer(server=7)) + zsend(0, 1, 9),
    "deflate_mixed": head(workers=2) + zws(0, 0, BOTH) + zws(1, 0x11) + ws(2, 2) + sse(3, 3) + sse(4, 1) + zws(5, 0x12, offer(server=2)) +
                     program(0, 0x80) + program(0, 0x80) + zsend(0, 1, 9) + zsend(1, 0x40, 9) + http(6) + post(6, 1, 0x87) + post(6, 1, 7),
    "deflate_mixed_takeover": head(workers=2, takeover=True) + zws(0, 0, BOTH) + zws(1, 0x11) + ws(2, 2) + sse(3, 3) + sse(4, 1) +
                              zws(5, 0x12) + program(0, 0x80) + program(0, 0x80) + zsend(0, 1, 9) + zsend(1, 0x40, 9) + http(6) +
                              post(6, 1, 0x87) + post(6, 1, 7),
    "deflate_little_memory": head(takeover=True, little=True) + b"".join(zws(i, i) for i in range(4)) +
                             b"".join(zsend(i, (i + 1) & 3, 7) for i in range(4)) + leave(0, True) + zws(0, 0) + zsend(1, 0, 7),
    "deflate_pieces": head(takeover=True) + zws(0, 0) + zws(1, 1) + zsend(0, 1, 0x5f) + zsend(0, 1, 0xdf) + zsend(1, 0, 0x71),
    "deflate_chopped": head(0x08, takeover=True) + zws(0, 0) + zws(1, 1, BOTH) + zsend(0, 1, 0x1f) + zsend(1, 0, 0x9f) + program(0, 0x80),
    "deflate_slow_reader": head(0, 5) + zws(0, 1, 0, 0x0c) + zws(1, 0) + zws(2, 1, 0, 0x08) + stall(0) + stall(2) +
                           b"".join(zsend(1, 1, 0x0f) for _ in range(12)) + settle() + stall(0) + stall(2) + zsend(1, 1, 3),
    "deflate_slow_reader_takeover": head(0, 5, takeover=True) + zws(0, 1, 0, 0x0c) + zws(1, 0) + stall(0) +
                                    b"".join(zsend(1, 1, 0x0f) for _ in range(12)) + settle() + stall(0) + zsend(1, 1, 3),
    "deflate_small_window": head() + zws(0, 1, 0, 0x0c) + zws(1, 0, BOTH, 0x08) + zsend(1, 1, 0x0f) + zsend(0, 0, 0x0f),
    "deflate_refused": head(0, 0x80, takeover=True) + zws(0, 0) + zws(1, 1) + b"".join(zsend(0, 1, i, turn=False) for i in range(9)) +
                       clock(12) + zsend(0, 1, 7) + zsend(0, 1, 2),
    "deflate_hooks": head(0, 0, 0x3f, 7, takeover=True) + b"".join(zws(i, i) for i in range(4)) + sse(4, 1) +
                     b"".join(zsend(i, 3 - i, 4) for i in range(4)) + finish(0, True) + program(0, 0x80) + clock(9) +
                     b"".join(zsend(i, 3 - i, 4) for i in range(4)) + settle(),
    "deflate_waits_its_turn": head(takeover=True, workers=1) + http(2) + zws(0, 0) + zws(1, 1) +
                              b"".join(get(2, 0, turn=False) for _ in range(70)) + zsend(0, 1, 0x4f, turn=False) +
                              zsend(0, 1, 0x0f, turn=False) + zsend(1, 0, 0x1f, turn=False) + settle(),
    "deflate_much": head(takeover=True, big=True, workers=1) + zws(0, 0) + zws(1, 1, BOTH) +
                    b"".join(zsend(i & 1, 3, 0, 0x20, turn=False) for i in range(44)) + zsend(0, 1, 5) + zsend(1, 0, 5) + settle(),
    "deflate_raw": head(takeover=True) + zws(1, 0) + raw(0) +
                   feed(0, HANDSHAKE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n" + END) +
                   feed(0, masked(0xc1, b"\xaaV*\xc9W\xb2R*5P\xd2QJ\xce\xcf+I\xcd+\x01r3Rsr\xf2\x95j\x01\x00")) + feed(0, masked(0xc1, b"")) + feed(0, masked(0xc1, b"\x00")) + feed(0, masked(0xc9, b"x")),
}
for number, name in enumerate(["block", "cut_off", "rsv1_on_continuation", "rsv1_on_ping", "bomb", "utf8", "behind_the_end",
                               "no_context", "rsv2", "half_a_block"]):
    for takeover in (False, True):
        SEEDS["deflate_broken_" + name + ("_takeover" if takeover else "")] = (
            head(takeover=takeover) + zws(0, 0) + zws(1, 1) + zsend(0, 1, 2) + zbroken(0, 1, number) + settle() + zsend(1, 0))
SEEDS["deflate_big_bomb"] = head(takeover=True, big=True) + zws(0, 0) + zws(1, 1) + zsend(0, 1, 0, 0x20) + zbroken(0, 1, 4)
SEEDS["deflate_broken_rsv2"] = head() + zws(0, 0) + zws(1, 1) + broken(0, 1, 1)

# TLS
SEEDS |= {
    "tls": secured() + tws(0, 0) + tws(1, 1) + tsse(2, 1) + thttp(3) + send(0, 1, 3) + send(1, 0, 0x1f) + post(3, 1) + post(3, 2, 0x85) +
           get(3, 5) + program(0, 0x80) + close(0, 0) + settle(),
    "tls_1_2": secured() + tws(0, 0, 0, tls(V12)) + tws(1, 1, 0, tls(V12)) + tsse(2, 1, 0, tls(V12)) + thttp(3, 0, tls(V12)) + send(0, 1, 3) +
               send(1, 0, 0x1f) + post(3, 1) + get(3, 0) + close(0, 0) + settle(),
    "tls_one_worker": secured(workers=1) + tws(0, 0) + tws(1, 1) + send(0, 1) + send(1, 0, 0x50),
    "tls_three_workers": secured(workers=2) + b"".join(tws(i, i, 0, tls(i & 1)) for i in range(4)) +
                         b"".join(send(i, (i + 1) % 4, i) for i in range(4)) + program(0, 0x80),
    "tls_mixed": secured() + tws(0, 0) + tws(1, 0, IN_CLEAR) + tsse(2, 1, IN_CLEAR) + tsse(3, 1) + send(0, 1) + send(1, 1) + send(1, 0) +
                 send(0, 0) + program(0, 0x80),
    "tls_only": secured(where=1) + tws(0, 0) + tws(1, 1, IN_CLEAR) + tsse(2, 1, IN_CLEAR) + thttp(3, IN_CLEAR) + post(3, 0) + traw(4, IN_CLEAR) +
                feed(4, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n") + send(0, 0),
    "tls_port": secured(where=2) + tws(0, 0) + tws(1, 1, IN_CLEAR) + thttp(2) + get(2, 0) + send(0, 1) + send(1, 0) +
                traw(3, 0x40) + traw(4, 0x40 | IN_CLEAR) + feed(4, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n") +
                feed(3, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    "tls_only_1_3": secured(only_1_3=True) + tws(0, 0) + tws(1, 1, 0, tls(V12)) + send(0, 0),
    "tls_alpn": secured() + tws(0, 0, 0, tls(HTTP11)) + tws(1, 1, 0, tls(HTTP11 | H2)) + tws(2, 2, 0, tls(H2)) + tws(3, 3, 0, tls(H2 | V12)) +
                send(0, 1),
    "tls_asked_again": secured() + tws(0, 0, 0, tls(OTHER_GROUP)) + tws(1, 1, 0, tls(OTHER_GROUP | RESUME)) +
                       tws(2, 2, 0, tls(OTHER_GROUP | V12)) + send(0, 1) + send(1, 0),
    "tls_resumes": secured() + tws(0, 0) + tws(1, 1, 0, tls(RESUME)) + clock(50) + clock(45) + tws(2, 2, 0, tls(RESUME)) + send(2, 0) + send(1, 2),
    "tls_resumes_1_2": secured() + tws(0, 0, 0, tls(V12)) + tws(1, 1, 0, tls(V12 | RESUME)) + tws(2, 2, 0, tls(RESUME)) + send(1, 2),
    "tls_ticket_of_the_key_before": secured() + thttp(0) + clock(90) + thttp(1) + clock(80) + thttp(2, 0, tls(RESUME)) + get(2, 0),
    "tls_ticket_too_old": secured() + thttp(0) + clock(150) + clock(60) + tws(1, 1, 0, tls(RESUME)) + send(1, 1) + clock(255) +
                          tws(2, 2, 0, tls(RESUME)) + clock(255) + clock(1) + tws(3, 3, 0, tls(RESUME)),
    "tls_ticket_of_1_2_too_old": secured() + thttp(0, 0, tls(V12)) + clock(150) + clock(60) + thttp(1, 0, tls(V12 | RESUME)) + get(1, 0),
    "tls_reload": secured() + tws(0, 0) + reload(1) + tws(1, 1) + send(0, 1) + reload(2) + tws(2, 2) + reload(0) + tws(3, 3, 0, tls(RESUME)) +
                  send(1, 0) + send(0, 3) + reload(1) + tws(4, 0) + send(4, 1),
    "tls_reload_amid": secured() + tws(0, 0, amid=True) + below(0, 2, 40, turn=False) + reload(1) + settle() + tws(1, 1) + send(0, 1) + send(1, 0),
    "reload_of_nothing": CALM.replace(b"\x00", b"\x03", 1) + b"\x00\x00" + ws(0, 0) + reload(0) + reload(3) + send(0, 0),
    "tls_drain": secured() + tws(0, 0) + tsse(1, 1) + thttp(2) + get(2, 0, turn=False) + send(0, 1, turn=False) + stop(100) + settle() + tws(3, 3),
    "tls_drain_while_the_flight_waits": secured() + op(3, 0, 0x0c, tls(0), turn=False) + tws(1, 1, 0x08, amid=True) + stop(100) + settle(),
    "tls_drain_amid": secured() + tws(0, 0) + tws(1, 1, 0, tls(STOPS, 100)) + tws(2, 1, 0, tls(STOPS, 400)) + stop(100) + settle() + clock(20),
    "tls_slow_reader": secured(0, 5) + tws(0, 1, 0x0c) + tws(1, 0) + tsse(2, 1, 0x08) + stall(0) + stall(2) +
                       b"".join(send(1, 1, 0x0f) for _ in range(12)) + settle() + stall(0) + stall(2) + send(1, 1),
    "tls_slow_reader_closed": secured(0, 1) + tws(0, 1, 0x0c) + tws(1, 0) + stall(0) + b"".join(send(1, 1, 0x0f) for _ in range(12)) +
                              settle() + stall(0) + settle(),
    "tls_small_window": secured() + tws(0, 1, 0x0c) + tws(1, 0, 0x08) + send(1, 1, 0x0f) + send(0, 0, 0x0f) + thttp(2, 0x0c) + get(2, 8) +
                        tsse(3, 1, 0x0c) + send(1, 1, 0x0f) + close(0, 0) + program(2, 1),
    "tls_small_window_moves": secured(workers=2) + b"".join(tws(i, i, 0x0c, tls(i & 1)) for i in range(4)) + send(0, 1, 0x0f) + send(3, 2, 0x0f),
    "tls_pieces": secured(workers=1) + tws(0, 0, amid=True) + below(0, 2, 4, turn=False) + tws(1, 1, 0, tls(V12), amid=True) +
                  below(1, 2, 0, turn=False) + settle() +
                  send(0, 1, 0x1f) + send(1, 0, 0x4f) + thttp(2) + below(2, 2, 30) + post(2, 1, 0x0f) + post(2, 1, turn=False) + leave(2, False),
    "tls_chopped": secured(0x08, workers=1) + tws(0, 0) + tws(1, 1, 0, tls(V12)) + send(0, 1, 0x1f) + send(1, 0) + thttp(2) + get(2, 5),
    "tls_chopped_64": secured(0x4c) + tws(0, 0) + tsse(1, 1) + thttp(2) + send(0, 1, 0x0f) + post(2, 1, 0x15) + get(2, 5) + reload(1) + tws(3, 3),
    "tls_interrupted": secured(0xc0) + tws(0, 0) + tws(1, 1) + tsse(2, 1) + thttp(3) + send(0, 1) + post(3, 1) + send(1, 0) + settle(),
    "tls_creeps": secured(0x20) + tws(0, 0) + tws(1, 1, amid=True) + below(1, 2, 9) + settle() + send(0, 1) + clock(9, False),
    "tls_new_keys": secured() + tws(0, 0) + tws(1, 1) + below(0, 4) + send(0, 1) + below(1, 4) + below(1, 4) + send(1, 0) + send(0, 1) +
                    tws(2, 2, 0, tls(V12)) + below(2, 4) + send(2, 0),
    "tls_goodbye": secured() + tws(0, 0) + tsse(1, 1) + thttp(2) + post(2, 0, turn=False) + below(2, 3) + below(0, 3) + below(1, 3) +
                   tws(3, 3, 0, tls(V12)) + send(3, 0, turn=False) + below(3, 3),
    "tls_goodbye_while_held": secured(0, 0, 0x04, 3) + b"".join(tws(i, i & 3) for i in range(8)) +
                              b"".join(send(i, 3, turn=False) + below(i, 3, turn=False) for i in range(8)) + settle() + clock(9),
    "tls_goodbye_behind_the_request": secured(workers=2) + b"".join(traw(i) for i in range(6)) + settle() + b"".join(
        feed(i, HANDSHAKE.replace(b"u1", b"u%d" % i) + END, turn=False) + below(i, 3, turn=False) for i in range(6)) + settle(),
    "tls_close_waits": secured(workers=1) + tws(0, 0, 0x0c, tls(V12)) + op(19, 0, 56, b"x" * 56, turn=False) + close(0, 0) + settle(),
    "tls_close_waits_still": secured(workers=1) + tws(0, 0, 0x0c, tls(V12)) + op(19, 0, 58, b"x" * 58, turn=False) + close(0, 0) + settle(),
    "tls_goodbye_waits": secured() + b"".join(traw(i, how, tls(v)) + feed(i, b"GET /%s HTTP/1.1\r\nConnection: close\r\nHost%s: a\r\n\r\n" % (b"a" * i, colon))
                                               for i, (how, v, colon) in enumerate([(0x0c, 0, b""), (0x0c, 0, b" "), (0x08, V12, b"")])) + settle(),
    "tls_cut_off": secured() + tws(0, 0) + thttp(1) + get(1, 0, turn=False) + leave(1, False) + leave(0, False) + tws(2, 2) + leave(2, True),
    "tls_kick": secured() + tws(0, 1) + tsse(1, 1) + tws(2, 0) + send(2, 1, turn=False) + program(2, 1) + send(2, 1) + program(2, 9),
    "tls_silence": secured() + tws(0, 0) + tsse(1, 1) + thttp(2) + traw(3) + clock(15) + clock(40) + clock(255),
    "tls_full_house": secured(0, 0, 0x80) + b"".join(tws(i, i) for i in range(5)) + thttp(5) + get(5, 0) + leave(0, False) + tws(6, 0),
    "tls_accept_faults": secured() + accept_fault(1) + tws(0, 0) + clock(3) + accept_fault(2) + tws(1, 1) + accept_fault(0) + tws(2, 2) + clock(9),
    "tls_of_a_proxy": secured() + tws(0, 0, 2, tls(PROXIED)) + tws(1, 1, 2) + send(0, 1) + send(1, 0),
    "tls_hooks": secured(0, 0, 0x3f, 7) + b"".join(tws(i, i) for i in range(4)) + tsse(4, 1) + thttp(5) +
                 b"".join(send(i, 3 - i) for i in range(4)) + post(5, 1) + finish(0, True) + finish(1, False) + program(0, 0x80) + clock(9) +
                 b"".join(send(i, 3 - i) for i in range(4)) + settle(),
    "tls_raw": secured() + tws(1, 0) + traw(0) + feed(0, HANDSHAKE + END, 50) + feed(0, masked(0x81, b'{"to":"u0","content":"hello"}')) +
               traw(2) + feed(2, b"GET / HTTP/1.1\nHost: a\n\n"),
    "tls_raw_no_tls": secured() + traw(0, IN_CLEAR) + feed(0, b"\x16\x03\x01\x00\x05hello") + traw(1, IN_CLEAR) + feed(1, b"\x16\x03\x01\xff\xff") +
                      traw(2, IN_CLEAR) + feed(2, b"\x16\x02") + traw(3, IN_CLEAR) + feed(3, b"\x16\x03\x01\x00") + clock(40) +
                      traw(4, IN_CLEAR) + feed(4, b"\x80\x2e\x01\x03\x01"),
    "tls_big": secured(big=True) + tws(0, 0) + tws(1, 1, 0x08) + send(0, 1, 0x0f) + b"".join(send(0, 1, 0x0f, turn=False) for _ in range(40)) + settle(),
    "tls_deflate": head(tls=True, takeover=True) + tws(0, 0, terms=0) + tws(1, 1, terms=BOTH) + tws(2, 1, IN_CLEAR, terms=0) + tsse(3, 1) +
                   zsend(0, 1, 9) + zsend(1, 0, 0x19) + zsend(2, 0, 9) + program(0, 0x80) + zbroken(0, 1, 4) + settle(),
    "tls_big_and_slow": head(tls=True, big=True, workers=1) + tws(0, 0, terms=0) + tws(1, 1, 0x04) +
                        b"".join(zsend(0, 1, 0, 0x23, turn=False) for _ in range(6)) + settle(),
    "tls_deflate_big": head(tls=True, big=True) + tws(0, 0, 0x08, terms=0) + tws(1, 1, 0x0c, terms=0) + zsend(0, 1, 0, 0x23) + zsend(1, 0, 0, 0x23),
}
for version in (0, V12):
    name = "_1_2" if version else ""
    for at in (0, 1, 2, 5, 30):
        SEEDS["tls_wrong_bit_%d%s" % (at, name)] = (secured() + tws(0, 0, 0, tls(version)) + tws(1, 1) + send(0, 1) + below(0, 1 + 5 * at, 1) +
                                                    settle() + send(1, 0))
    SEEDS["tls_plain_between%s" % name] = (secured() + tws(0, 0, 0, tls(version)) + thttp(1, 0, tls(version)) + tsse(2, 2, 0, tls(version)) +
                                           send(0, 1) + below(0, 0) + below(1, 0) + below(2, 0) + settle())
    SEEDS["tls_plain_amid%s" % name] = (secured() + op(0, 0, 0, 0, tls(version), turn=False) + below(0, 0) +
                                        thttp(1, 0, tls(version), amid=True) + below(1, 0) + settle())
    SEEDS["tls_stops%s" % name] = (secured() + b"".join(tws(i, i & 3, 0, tls(STOPS, n)) for i, n in
                                                        enumerate([4, 8, 100, 240, 320, 400, 480])) + thttp(7, 0, tls(version)) + get(7, 0) +
                                   clock(9) + clock(30) + clock(40))

for dice in range(1, 7):
    SEEDS["hooks_gone_%d" % dice] = (bytes([0, 0, 0x02, dice]) + b"".join(ws(i, i, turn=False) + sse(i + 4, i, turn=False)
                                     for i in range(4)) + settle() + b"".join(leave(i, i & 1) for i in range(8)) + settle() +
                                     b"".join(finish(0, True) for _ in range(3)))
    SEEDS["hooks_cut_%d" % dice] = (bytes([0, 0, 0x02, dice]) + b"".join(ws(i, i) + sse(i + 4, i) for i in range(4)) + stop(0) +
                                    settle() + finish(0, dice & 1))

directory = pathlib.Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (directory / name).write_bytes(data)
print(len(SEEDS), "inputs, longest", max(len(d) for d in SEEDS.values()))
