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


def feed(slot, text, cut=0):
    out = b""
    while text:
        piece, text = text[:255], text[255:]
        out += op(10, slot, len(piece), cut, piece)
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
