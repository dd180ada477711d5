# SPDX-License-Identifier: Apache-2.0
"""How WebSocket connections end: close codes, the closing handshake, and frames that break the protocol."""
import struct

import lib
from lib import BINARY, CLOSE, CONT, PING, PONG, TEXT, Server, close_payload, eq, frame, name, ok, row, shared, success


def closes(code, *frames, reason=None):
    """The bytes end the connection with this code and a reason; the receiver and the next client are not disturbed."""
    s = shared()
    alice, bob = s.ws(name("alice")), s.ws(name("bob"))
    for f in frames:
        try:
            alice.send_raw(f)
        except OSError:
            break
    said = alice.expect_close(code, reason)
    ok(said, "a close frame of the server carries a reason")
    s.gone(alice.user)
    success(s.send("a", bob.user, "marker"))
    bob.recv(content="marker")
    with lib.Ws(s.address, name("next")) as c:
        c.quiet()


HELLO = b'{"to":"x","content":"y"}'


@row("7.1000")
def test_a_close_of_the_client_is_answered_with_its_code():
    s = shared()
    for code in (1000, 1001, 1008, 3000, 4999):
        ws = s.ws(name())
        eq(ws.close(code, "bye"), code)
        s.gone(ws.user)
    ws = s.ws(name())
    eq(ws.close(None), 1005)


@row("7.1000", "threat 24")
def test_frames_behind_a_close_are_ignored():
    s = shared()
    alice, bob = s.ws(name("alice")), s.ws(name("bob"))
    late = frame(TEXT, b'{"to":"%s","content":"late"}' % bob.user.encode())
    alice.send_raw(frame(CLOSE, close_payload(1000)) + late + frame(PING, b"x") + b"garbage")
    alice.expect_close(1000, answer=False)
    alice.expect_end()
    success(s.send("a", bob.user, "marker"))
    bob.recv(content="marker")


@row("7.1000")
def test_a_message_right_before_a_close_is_delivered():
    s = shared()
    for _ in range(10):
        alice, bob = s.ws(name("alice")), s.ws(name("bob"))
        alice.send_raw(frame(TEXT, b'{"to":"%s","content":"last"}' % bob.user.encode())
                       + frame(CLOSE, close_payload(1000)))
        bob.recv(content="last")
        alice.expect_close(1000, answer=False)


@row("7.1000")
def test_a_connection_that_breaks_without_a_close_frame_ends():
    s = shared()
    for end in ("cut", "reset", "shut"):
        ws = s.ws(name())
        getattr(ws, end)()
        s.gone(ws.user)


@row("7.1002", "threat 16")
def test_frames_that_break_the_protocol_are_closed_with_1002():
    for frames in ([frame(TEXT, HELLO, mask=None)],                                    # a client must mask
                   [frame(TEXT, HELLO, rsv=4)], [frame(TEXT, HELLO, rsv=2)], [frame(TEXT, HELLO, rsv=1)],
                   [frame(PING, b"x", rsv=4)],
                   [frame(3, b"x")], [frame(7, b"")], [frame(11, b"")], [frame(15, b"x")],  # opcodes that do not exist
                   [frame(PING, b"x", fin=False)], [frame(CLOSE, b"", fin=False)], [frame(PONG, b"", fin=False)],
                   [frame(PING, b"x" * 126)], [frame(CLOSE, close_payload(1000, "x" * 124))],
                   [frame(PONG, b"", length=16)],
                   [frame(CONT, b"x")], [frame(CONT, b"x", fin=False)],                # nothing to continue
                   [frame(TEXT, b"{", fin=False), frame(TEXT, b"}")], [frame(TEXT, b"{", fin=False),
                                                                       frame(BINARY, b"}")],
                   [frame(TEXT, HELLO), frame(CONT, b"x")],
                   [frame(TEXT, b"x", length=16)], [frame(TEXT, b"x", length=64)],     # longer than the shortest form
                   [struct.pack("!BBQ", 0x81, 0xff, 1 << 63) + b"abcd"],
                   [frame(CLOSE, b"x")],                                               # a close of one byte
                   [frame(CLOSE, struct.pack("!H", 999))], [frame(CLOSE, struct.pack("!H", 1004))],
                   [frame(CLOSE, struct.pack("!H", 1005))],
                   [frame(CLOSE, struct.pack("!H", 1006))], [frame(CLOSE, struct.pack("!H", 1015))],
                   [frame(CLOSE, struct.pack("!H", 2999))],
                   [frame(CLOSE, struct.pack("!H", 5000))], [frame(CLOSE, struct.pack("!H", 0))]):
        try:
            closes(1002, *frames)
        except (AssertionError, lib.Closed) as e:
            raise lib.Wrong(f"{[f[:40] for f in frames]}: {e}") from e


@row("7.1002")
def test_a_second_request_on_a_websocket_is_a_protocol_error():
    s = shared()
    ws = s.ws(name())
    ws.send_raw(b"GET /wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n")
    ws.expect_close(1002)


@row("7.1007", "threat 26")
def test_text_that_is_not_utf_8_is_closed_with_1007():
    for frames in ([frame(TEXT, b"\xff")], [frame(TEXT, b'{"to":"x","content":"\xc3\x28"}')],
                   [frame(TEXT, b"\xed\xa0\x80")],
                   [frame(TEXT, b"\xc0\xaf")], [frame(TEXT, b"\xf4\x90\x80\x80")], [frame(TEXT, b"abc\xe2\x82")],
                   [frame(TEXT, b"\xe2\x82", fin=False), frame(CONT, b"x")], [frame(TEXT, b"\xe2", fin=False),
                                                                              frame(CONT, b"", fin=True)],
                   [frame(TEXT, b"{", fin=False), frame(CONT, b"\xff", fin=False)],
                   [frame(CLOSE, struct.pack("!H", 1000) + b"\xff\xfe")]):
        try:
            closes(1007, *frames)
        except (AssertionError, lib.Closed) as e:
            raise lib.Wrong(f"{[f[:40] for f in frames]}: {e}") from e


@row("7.1007")
def test_a_character_may_be_split_between_fragments():
    s = shared()
    alice, bob = s.ws(name("alice")), s.ws(name("bob"))
    text = ('{"to":"%s","content":"€\U0001f600"}' % bob.user).encode()
    for i in range(len(text)):
        alice.send_frame(TEXT if i == 0 else CONT, text[i:i + 1], fin=i == len(text) - 1)
    bob.recv(content="€\U0001f600")


@row("7.1009", "threat 2", "threat 8", "threat 120")
def test_a_frame_that_announces_too_much_is_closed_before_it_has_come():
    closes(1009, struct.pack("!BBQ", 0x81, 0xff, (1 << 20) + 1) + b"abcd")
    closes(1009, struct.pack("!BBQ", 0x81, 0xff, (1 << 63) - 1) + b"abcd")
    closes(1009, frame(TEXT, b"x" * (1 << 19), fin=False), frame(CONT, b"x" * (1 << 19), fin=False), frame(CONT, b"x"))


@row("7.close-first", "threat 24")
def test_the_server_waits_for_the_answer_to_its_close_and_then_ends():
    s = shared()
    ws = s.ws(name())
    ws.send_frame(TEXT, b"\xff")
    ws.expect_close(1007, answer=False)
    ws.expect_end()                      # at most 5 s later, answered or not
    ws = s.ws(name())
    ws.send_raw(b"GET / HTTP/1.1\r\n")
    ws.expect_close(1002, answer=False)
    ws.expect_end()


@row("7.close-first", "threat 24")
def test_a_replaced_client_that_does_not_answer_is_cut_after_a_while():
    with Server({"max_connections_per_user": 1}) as s:
        stubborn = s.ws("bob")
        s.ws("bob")
        stubborn.expect_close(4409, answer=False)
        stubborn.expect_end()


@row("7.close-first")
def test_messages_before_the_close_are_not_lost():
    with Server() as s:
        bob = s.ws("bob")
        for i in range(50):
            success(s.send("a", "bob", str(i)))
        s.signal(15)
        for i in range(50):
            bob.recv(content=str(i))
        bob.expect_close(1001)
        eq(s.wait(), 0)


@row("7.close-first")
def test_pongs_and_messages_to_a_closing_connection_do_not_come_behind_its_close():
    s = shared()
    alice = s.ws(name("alice"))
    alice.send_raw(frame(TEXT, b"ping") + frame(PING, b"1") + frame(TEXT, b"\xff") + frame(PING, b"2")
                   + frame(TEXT, b"ping"))
    got = []
    while not alice.closed:
        got.append(alice.recv_frame()[:2])
    eq(sorted(got[:-1]), [(TEXT, b"pong"), (PONG, b"1")])
    eq(alice.closed.code, 1007)
