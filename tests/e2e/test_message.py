# SPDX-License-Identifier: Apache-2.0
"""The message: the values of its keys, the effect of each kind of frame on /ws, and the promises about order."""
import datetime
import json
import random
import threading
import time

import lib
from lib import (API, BINARY, CONT, KEYS, PING, PONG, STAMP, TEXT, ULID, Server, eq, has, name, ok, parse, row, shared,
                 success)


def pair(server=None, **options):
    """Two connected users: alice, bob."""
    server = server or shared()
    return server.ws(name("alice"), **options), server.ws(name("bob"))


def relay(text, server=None):
    """The raw text that bob gets when alice sends this JSON text (str, with TO in place of bob's id)."""
    alice, bob = pair(server)
    alice.send_text(text.replace("TO", bob.user))
    return bob.recv_text()


def raw_member(text, key):
    """The text of the value of a top-level key, exactly as it stands in @text; the key must be there once."""
    start = text.index(json.dumps(key) + ":") + len(json.dumps(key)) + 1
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end]


def refused(frame, code="bad_message", ref=None, opcode=TEXT):
    """Alice sends @frame (bytes or text; TO, ME: ids) and is told @code; bob gets nothing; alice's connection stays."""
    alice, bob = pair()
    frame = frame.encode() if isinstance(frame, str) else frame
    frame = frame.replace(b"TO", bob.user.encode()).replace(b"ME", alice.user.encode())
    alice.send_frame(opcode, frame)
    error = alice.expect_error(code, ref)
    alice.send(to=bob.user, content="after")
    bob.recv(content="after")
    alice.quiet()
    return error


# ---- shape -----------------------------------------------------------------------------------------------------------


@row("3.shape")
def test_every_text_frame_is_one_object_with_the_six_keys_in_their_order():
    alice, bob = pair()
    alice.send(to=bob.user, content="Hello")
    m = bob.recv()
    eq(list(m)[:6], list(KEYS))
    eq(m, {"id": m["id"], "type": "text", "from": alice.user, "to": bob.user, "content": "Hello",
           "create_at": m["create_at"]})


@row("3.shape")
def test_the_javascript_clients_message_of_the_quick_reference_arrives_as_it_was_meant():
    alice, bob = pair()
    sent = {"to": bob.user, "type": "text", "content": "Hello Bob!", "from": alice.user,
            "create_at": "2026-01-31T12:00:00.000Z"}
    alice.send_text(json.dumps(sent))
    m = bob.recv()
    for k, v in sent.items():
        eq(m[k], v)


@row("3.id-kept")
def test_an_id_of_the_clients_own_is_kept():
    for mine in ("m-1", "x", "i" * 64, "é" * 32, "a b\tc"):
        alice, bob = pair()
        alice.send(to=bob.user, content="x", id=mine)
        bob.recv(id=mine)


@row("3.id-kept", "6.dedupe", "threat 177")
def test_a_repeated_id_is_delivered_again_because_nothing_is_stored():
    alice, bob = pair()
    for _ in range(2):
        alice.send(to=bob.user, content="x", id="same")
    bob.recv(id="same")
    bob.recv(id="same")


@row("3.id-server")
def test_without_an_id_the_server_gives_a_ulid_that_sorts_by_time():
    alice, bob = pair()
    alice.send(to=bob.user, content="1")
    first = bob.recv()["id"]
    time.sleep(0.005)
    alice.send(to=bob.user, content="2", id=None)
    second = bob.recv()["id"]
    ok(ULID.match(first) and ULID.match(second), first, second)
    ok(first < second, first, "is not before", second)
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    ms = 0
    for c in first[:10]:
        ms = ms * 32 + alphabet.index(c)
    ok(abs(ms / 1000 - time.time()) < 3600, "the time in", first, "is", ms)


@row("3.id-server")
def test_ids_of_the_server_are_never_the_same():
    alice, bob = pair()
    for i in range(200):
        alice.send(to=bob.user, content=str(i))
    eq(len({bob.recv()["id"] for _ in range(200)}), 200)


@row("3.id-kept", "threat 15")
def test_an_id_that_is_empty_or_too_long_or_no_string_is_bad():
    for value in ('""', '"' + "i" * 65 + '"', '"' + "é" * 33 + '"', "7", "[]", "{}", "true"):
        refused('{"to":"TO","content":"x","id":%s}' % value)


@row("3.type")
def test_the_type_is_text_by_default():
    for text in ('{"to":"TO","content":"x"}', '{"to":"TO","content":"x","type":null}',
                 '{"to":"TO","content":"x","type":""}'):
        eq(parse(relay(text))["type"], "text")


@row("3.type", "threat 182")
def test_known_and_unknown_types_pass_unchanged():
    for kind in ("text", "image", "notice", "system", "typing", "x-made-up", "Pong", "überraschung", "a b",
                 "\U0001f600", "t" * 64):
        alice, bob = pair()
        alice.send(to=bob.user, content="x", type=kind)
        bob.recv(kind)


@row("3.type")
def test_a_type_that_is_too_long_or_no_string_is_bad():
    for value in ('"' + "t" * 65 + '"', "1", "[]", '"a\\u0000b"', '"a\\nb"'):
        refused('{"to":"TO","content":"x","type":%s}' % value)


@row("3.from", "3.frame-from-missing")
def test_a_missing_from_is_filled_in():
    for text in ('{"to":"TO","content":"x"}', '{"to":"TO","content":"x","from":null}',
                 '{"to":"TO","content":"x","from":""}'):
        alice, bob = pair()
        alice.send_text(text.replace("TO", bob.user))
        bob.recv(from_=alice.user)


@row("3.frame-from-false", "threat 112", "owasp.7")
def test_a_false_from_is_refused_and_not_delivered():
    refused('{"id":"m1","to":"TO","content":"x","from":"mallory"}', "sender_mismatch", "m1")
    refused('{"id":"m1","to":"TO","content":"x","from":"system"}', "sender_mismatch", "m1")
    refused('{"id":"m1","to":"TO","content":"x","from":"ME "}', "sender_mismatch", "m1")


@row("3.frame-from-false")
def test_a_from_that_is_right_but_escaped_is_right():
    alice, bob = pair()
    escaped = "".join(f"\\u{ord(c):04x}" for c in alice.user)
    alice.send_text('{"to":"%s","content":"x","from":"%s"}' % (bob.user, escaped))
    eq(parse(bob.recv_text())["from"], alice.user)


@row("3.to", "3.frame-to")
def test_a_message_reaches_every_device_of_the_receiver_once_and_no_other_user():
    s = shared()
    alice, bob = pair(s)
    bob2, carol, stream = s.ws(bob.user), s.ws(name("carol")), s.sse(bob.user)
    alice.send(to=bob.user, content="x")
    alice.send(to=carol.user, content="marker")
    for device in (bob, bob2, stream):
        device.recv(content="x", to=bob.user, from_=alice.user)
    carol.recv(content="marker")
    for device in (alice, bob, bob2, carol):
        device.quiet()


@row("3.frame-own-devices")
def test_the_senders_other_devices_get_no_copy():
    s = shared()
    alice, bob = pair(s)
    tablet = s.ws(alice.user)
    alice.send(to=bob.user, content="x")
    bob.recv(content="x")
    alice.send(to=alice.user, content="marker")
    tablet.recv(content="marker")


@row("3.frame-own-devices")
def test_a_message_to_oneself_reaches_all_own_devices_the_sending_one_too():
    s = shared()
    alice = s.ws(name("alice"))
    tablet = s.ws(alice.user)
    alice.send(to=alice.user, content="note")
    alice.recv(content="note", from_=alice.user)
    tablet.recv(content="note")


@row("3.to")
def test_to_must_be_an_id():
    for value in ('"' + "b" * 129 + '"', '"a\\u0000"', '"a\\n"', '"\\u0085"', "7", "{}", "[\"TO\"]"):
        refused('{"to":%s,"content":"x"}' % value)


@row("3.to", "threat 90", "threat 94")
def test_ids_are_exact():
    s = shared()
    alice, bob = pair(s)
    for other in (bob.user.upper(), bob.user + " ", bob.user[:-1]):
        alice.send(to=other, content="x", id="m")
        alice.expect_error("user_offline", "m")
    bob.quiet()


@row("3.content")
def test_content_may_be_absent_when_data_is_there():
    m = parse(relay('{"to":"TO","data":{"a":1}}'))
    eq((m["content"], m["data"]), ("", {"a": 1}))
    m = parse(relay('{"to":"TO","content":"","data":{}}'))
    eq((m["content"], m["data"]), ("", {}))


@row("3.content")
def test_empty_content_is_content():
    eq(parse(relay('{"to":"TO","content":""}'))["content"], "")


@row("3.content")
def test_neither_content_nor_data_is_bad():
    refused('{"id":"m1","to":"TO"}', ref="m1")
    refused('{"id":"m1","to":"TO","content":null,"data":null}', ref="m1")


@row("3.error-frame")
def test_a_bad_message_is_named_when_its_id_came_before_the_fault():
    refused('{"id":"m1","to":"TO","content":5}', ref="m1")
    refused('{"id":"m\\u0031","to":"TO","content":"x","content":"y"}', ref="m1")
    refused('{"id":"m1","to":"TO",', ref="m1")
    refused('{"id":"m1","to":"TO","content":"x","create_at":"soon"}', ref="m1")
    for bad in ('{"id":5,"to":"TO"}', '{"id":"","to":"TO"}', '{"id":"%s","to":"TO"}' % ("i" * 65), '{"to":5,"content":"x"}'):
        ok("ref" not in refused(bad)["data"], bad)


@row("3.content")
def test_content_arrives_as_it_was_written():
    for content in ("", " ", "é ü ß 漢字", "\U0001f600" * 40, 'quotes " and \\ and /', "line\nbreak\ttab\r",
                    "\u0000\u001f\u007f",
                    "\u2028\u2029", "</script>", "x" * 100_000):
        alice, bob = pair()
        alice.send_text(json.dumps({"to": bob.user, "content": content}))
        bob.recv(content=content)
        alice.send_text(json.dumps({"to": bob.user, "content": content}, ensure_ascii=False))
        bob.recv(content=content)


@row("3.content")
def test_content_that_is_no_string_is_bad():
    for value in ("1", "true", "[]", "{}", "1.5"):
        refused('{"to":"TO","content":%s}' % value)


@row("3.data", "threat 77")
def test_data_is_untouched_whatever_it_contains():
    for data in ('{"n":9223372036854775807}', '{"n":-9223372036854775808}', '{"n":18446744073709551615}',
                 '{"n":1.0,"m":1e400,"k":-0,"j":0.1000000000000000055511151231257827}', '{"z":1,"a":2,"m":3}',
                 '{"a":1,"a":2}', '{"a":"\\u0041\\/\\ud83d\\ude00"}', '{ "a" : [ 1 , 2 ] ,  "b":{ } }', "{}",
                 '{"lone":"\\ud800"}', '{"deep":' + "[" * 60 + "]" * 60 + "}", '{"":null}', '{"è":"漢\U0001f600"}'):
        eq(raw_member(relay('{"to":"TO","content":"x","data":%s}' % data), "data"), data)


@row("3.data")
def test_line_breaks_between_the_tokens_of_data_become_spaces():
    alice, bob = pair()
    stream = shared().sse(bob.user)
    alice.send_text('{"to":"%s",\r\n"content":"x","data":{\n"a":\r\n[1,\n2],"text":"line\\nbreak"}}' % bob.user)
    want = '{ "a":  [1, 2],"text":"line\\nbreak"}'
    eq(raw_member(bob.recv_text(), "data"), want)
    stream.recv()
    eq(raw_member(stream.last, "data"), want)


@row("3.data", "threat 15")
def test_data_that_is_no_object_is_bad():
    for value in ("1", '"x"', "[]", "true"):
        refused('{"to":"TO","content":"x","data":%s}' % value)


@row("3.create-at")
def test_a_date_of_the_client_is_kept_as_it_was_written():
    for date in ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00+05:30",
                 "2026-01-31T12:00:00.5-11:45",
                 "1999-12-31T23:59:59Z", "2024-02-29T00:00:00Z", "2026-01-31t12:00:00z"):
        eq(raw_member(relay('{"to":"TO","content":"x","create_at":"%s"}' % date), "create_at"), f'"{date}"')


@row("3.create-at")
def test_a_date_without_zone_gets_a_z():
    python = datetime.datetime(2026, 1, 31, 12, 0, 0, 123456).isoformat()
    for date in (python, "2026-01-31T12:00:00"):
        eq(parse(relay('{"to":"TO","content":"x","create_at":"%s"}' % date))["create_at"], date + "Z")


@row("3.create-at")
def test_a_date_may_be_written_with_escapes():
    for date in ("2026-01-31T12:00:00\\u002B05:30", "2026-01-31T12:00:00.5\\u005a"):
        eq(raw_member(relay('{"to":"TO","content":"x","create_at":"%s"}' % date), "create_at"), f'"{date}"')
    eq(parse(relay('{"to":"TO","content":"x","create_at":"2026-01-31T12:00:0\\u0030"}'))["create_at"], "2026-01-31T12:00:00Z")


@row("3.create-at")
def test_without_a_date_the_servers_time_is_there():
    for text in ('{"to":"TO","content":"x"}', '{"to":"TO","content":"x","create_at":null}'):
        at = parse(relay(text))["create_at"]
        ok(STAMP.match(at), at)
        ok(abs(datetime.datetime.fromisoformat(at[:-1] + "+00:00").timestamp() - time.time()) < 3600, at)


@row("3.create-at")
def test_text_that_is_no_date_is_bad():
    for value in ('"yesterday"', '""', '"2026-01-31"', '"12:00:00Z"', '"2026-02-30T12:00:00Z"',
                  '"2025-02-29T12:00:00Z"',
                  '"2026-13-01T12:00:00Z"', '"2026-01-31T25:00:00Z"', '"2026-01-31T12:61:00Z"',
                  '"2026-01-31T12:00:00+25:00"',
                  '"2026-01-31T12:00:00ZZ"', '" 2026-01-31T12:00:00Z"', '"2026-1-31T12:00:00Z"', "1769860800",
                  "1769860800000", "{}"):
        refused('{"to":"TO","content":"x","create_at":%s}' % value)


@row("3.passed-on")
def test_msg_id_reply_to_msg_id_priority_and_ticket_id_are_passed_on():
    m = parse(relay('{"to":"TO","content":"x","msg_id":"a","reply_to_msg_id":"b","priority":"high","ticket_id":"t"}'))
    eq((m["msg_id"], m["reply_to_msg_id"], m["priority"], m["ticket_id"]), ("a", "b", "high", "t"))


@row("3.passed-on")
def test_msg_id_reply_to_msg_id_and_priority_must_be_strings():
    for key in ("msg_id", "reply_to_msg_id", "priority", "ticket_id"):
        for value in ("1", "{}", "false"):
            refused('{"to":"TO","content":"x","%s":%s}' % (key, value))


@row("3.seq-no", "threat 112")
def test_a_seq_no_of_the_client_is_thrown_away():
    for value in ("1", "-5", "9223372036854775807", "null"):
        ok("seq_no" not in parse(relay('{"to":"TO","content":"x","seq_no":%s}' % value)))


@row("3.seq-no", "threat 15")
def test_a_seq_no_that_is_no_integer_is_bad():
    for value in ('"1"', "1.5", "{}", "9223372036854775808"):
        refused('{"to":"TO","content":"x","seq_no":%s}' % value)


@row("3.status")
def test_a_status_is_one_of_five_words():
    for status in ("pending", "sent", "delivered", "read", "failed"):
        eq(parse(relay('{"to":"TO","content":"x","status":"%s"}' % status))["status"], status)
    for value in ('"lost"', '""', '"Sent"', "1"):
        refused('{"to":"TO","content":"x","status":%s}' % value)


@row("3.require-ack", "threat 169")
def test_require_ack_true_is_not_supported_and_not_delivered():
    refused('{"id":"m1","to":"TO","content":"x","require_ack":true}', "not_supported", "m1")


@row("3.require-ack")
def test_require_ack_false_is_passed_on():
    eq(parse(relay('{"to":"TO","content":"x","require_ack":false}'))["require_ack"], False)
    for value in ('"yes"', "1"):
        refused('{"to":"TO","content":"x","require_ack":%s}' % value)


@row("3.unknown-keys", "threat 182")
def test_unknown_keys_pass_byte_for_byte_in_their_order():
    members = ('"zeta":9223372036854775807,"alpha":{"b":1,"a":[1.50,  2e+3]},"user_id":"\\u00e9",'
               '"x y":null,"\\u0061bc":"\\/",'
               '"é":true,"Content":"other","TO_":0')
    got = relay('{"to":"TO",%s,"content":"x"}' % members.replace("TO_", "T_"))
    has(got, members.replace("TO_", "T_"))


@row("3.unknown-keys")
def test_a_thousand_unknown_keys_pass():
    members = ",".join(f'"k{i}":{i}' for i in range(1000))
    has(relay('{"to":"TO","content":"x",%s}' % members), members)


@row("3.unknown-keys")
def test_a_known_key_may_be_spelled_with_escapes():
    m = parse(relay('{"\\u0074o":"TO","cont\\u0065nt":"x"}'))
    eq(m["content"], "x")


@row("3.null")
def test_null_in_a_known_key_counts_as_absent():
    got = relay('{"to":"TO","content":"x","id":null,"type":null,"from":null,"ticket_id":null,"data":null,'
                '"create_at":null,"msg_id":null,"reply_to_msg_id":null,"priority":null,"seq_no":null,"status":null,'
                '"require_ack":null,"own":null}')
    m = parse(got)
    eq(sorted(m), sorted(KEYS + ("own",)), got)


@row("3.key-twice", "threat 77")
def test_a_top_level_key_that_is_there_twice_is_bad():
    for frame in ('{"to":"TO","to":"TO","content":"x"}', '{"to":"TO","content":"x","content":"y"}',
                  '{"to":"TO","content":"x","own":1,"own":1}', '{"to":"TO","content":"x","from":null,"from":"ME"}',
                  '{"to":"TO","content":"x","\\u0063ontent":"y"}', '{"to":"TO","content":"x","ab":1,"a\\u0062":2}',
                  '{"to":"TO","content":"x",' + ",".join(f'"k{i}":0' for i in range(500)) + ',"k250":1}'):
        refused(frame)


@row("3.lone-surrogate", "threat 77")
def test_half_a_surrogate_pair_in_a_top_level_string_is_bad():
    for frame in ('{"to":"TO","content":"\\ud800"}', '{"to":"TO","content":"\\udc00x"}',
                  '{"to":"TO","content":"x","own":"\\ud83d"}',
                  '{"to":"TO","content":"x","\\udfff":1}', '{"to":"TO\\ud800","content":"x"}',
                  '{"to":"TO","content":"x","id":"\\ud800"}',
                  '{"to":"TO","content":"\\ude00\\ud83d"}'):
        refused(frame)


@row("3.output", "threat 94")
def test_ids_with_quotes_and_escapes_cannot_break_out_of_their_string():
    s = shared()
    evil = name('"},{"x\\":"') + '\\"\\\\/</script>'
    alice, bob = s.ws(evil), s.ws(name("bob"))
    alice.send(to=bob.user, content="x", id='"},"a":{"', type='"},"b":"\\')
    m = bob.recv('"},"b":"\\', from_=evil, id='"},"a":{"')
    eq(set(m), set(KEYS), bob.last)
    bob.send(to=evil, content="y")
    alice.recv(content="y", to=evil)
    bob.send(to='no"body\\', content="z", id='q"\\')
    error = bob.expect_error("user_offline", 'q"\\')
    has(error["content"], 'no"body\\')


@row("3.output")
def test_control_characters_in_ids_are_escaped_on_the_way_out():
    alice, bob = pair()
    alice.send_text('{"to":"%s","content":"x","id":"a\\u0001\\n\\tb"}' % bob.user)
    text = bob.recv_text()
    ok(not any(ord(c) < 32 for c in text), repr(text))
    eq(parse(text)["id"], "a\x01\n\tb")


# ---- frames ----------------------------------------------------------------------------------------------------------


@row("3.frame-neither")
def test_a_message_without_a_receiver_is_refused():
    refused('{"id":"m1","content":"x"}', "no_recipient", "m1")
    refused('{"id":"m1","content":"x","to":null,"ticket_id":null}', "no_recipient", "m1")
    refused('{"id":"m1","content":"x","to":""}', "no_recipient", "m1")


@row("3.frame-ping")
def test_the_bare_word_ping_is_answered_with_the_bare_word_pong():
    alice, bob = pair()
    for mask in (True, b"\0\0\0\0"):
        alice.send_text("ping", mask=mask)
        eq(alice.recv_text(), "pong")
    alice.send_frame(TEXT, b"pi", fin=False)
    alice.send_frame(CONT, b"ng")
    eq(alice.recv_text(), "pong")


@row("3.frame-ping")
def test_only_a_bare_ping_gets_a_bare_pong():
    alice, _ = pair()
    for frame in ("Ping", "PING", " ping", "ping\n", '"ping"', "pong"):
        alice.send_text(frame)
        alice.expect_error("bad_message")


@row("3.frame-ping")
def test_type_ping_and_heartbeat_get_a_message_pong_and_are_never_routed():
    alice, bob = pair()
    for kind in ("ping", "heartbeat"):
        for more in ({}, {"to": bob.user}, {"to": bob.user, "content": "x"}, {"ticket_id": "t"},
                     {"to": name("offline")}):
            alice.send(type=kind, **more)
            alice.recv("pong", from_="system", to=alice.user)
    alice.send(to=bob.user, content="marker")
    bob.recv(content="marker")


@row("3.frame-ping")
def test_other_users_never_see_the_bare_word():
    alice, bob = pair()
    for _ in range(5):
        alice.send_text("ping")
        alice.recv_text()
    alice.send(to=bob.user, content="marker")
    bob.recv(content="marker")


@row("3.frame-ack")
def test_an_ack_is_not_supported():
    refused('{"type":"ack","msg_id":"m1"}', "not_supported")
    refused('{"id":"a1","type":"ack","msg_id":"m1","to":"TO","content":"x"}', "not_supported", "a1")


@row("3.frame-bad", "threat 59", "owasp.8")
def test_a_frame_that_is_no_strict_json_is_bad():
    for frame in ("{", "}", "{]", "nonsense", "{'to':'TO','content':'x'}", '{to:"TO","content":"x"}',
                  '{"to":"TO","content":"x",}',
                  '{"to":"TO","content":"x"} x', '{"to":"TO","content":"x"}{}', '{"to":"TO","content":"x" /* no */}',
                  '{"to":"TO","content":"a\nb"}', '{"to":"TO","content":"x","n":01}',
                  '{"to":"TO","content":"x","n":+1}',
                  '{"to":"TO","content":"x","n":.5}', '{"to":"TO","content":"x","n":1.}',
                  '{"to":"TO","content":"x","n":NaN}',
                  '{"to":"TO","content":"x","n":tru}', '{"to":"TO","content":"\\x41"}', '{"to":"TO","content":"\\u12"}',
                  '\ufeff{"to":"TO","content":"x"}', '{"to":"TO","content":"x"', '{"to":"TO" "content":"x"}', '{"a"}'):
        refused(frame)


@row("3.frame-bad")
def test_a_frame_that_is_no_object_is_bad():
    for frame in ("[]", '"text"', "1", "null", "true", '[{"to":"TO","content":"x"}]'):
        refused(frame)


@row("3.frame-bad")
def test_an_empty_frame_is_bad():
    for frame in (b"", b" ", b"\r\n\t"):
        refused(frame)


@row("3.frame-bad", "threat 74")
def test_sixty_four_levels_are_allowed_and_sixty_five_are_not():
    deep = "[" * 62 + "]" * 62
    eq(raw_member(relay('{"to":"TO","content":"x","data":{"d":%s}}' % deep), "data"), '{"d":%s}' % deep)
    refused('{"to":"TO","content":"x","data":{"d":%s}}' % ("[" + deep + "]"))
    refused('{"to":"TO","content":"x","own":%s}' % ("[" * 64 + "]" * 64))
    refused("[" * 100_000)
    refused('{"a":' * 50_000)


@row("3.frame-bad", "3.error-frame")
def test_an_error_names_the_message_by_its_id_and_the_connection_stays():
    alice, bob = pair()
    alice.send(id="m-7", to=name("nobody"), content="x")
    error = alice.expect_error("user_offline", "m-7")
    ok(ULID.match(error["id"]) and STAMP.match(error["create_at"]), error)
    eq(set(error), set(KEYS) | {"data"}, alice.last)
    eq(set(error["data"]), {"code", "ref"}, alice.last)
    alice.send(to=name("nobody"), content="x")
    error = alice.recv("error")
    eq(error["data"]["code"], "user_offline")
    alice.send(to=bob.user, content="still here")
    bob.recv(content="still here")


@row("3.error-frame")
def test_error_frames_fit_the_published_schema():
    alice, bob = pair()
    for keys in ({"to": name("nobody"), "content": "x", "id": "m"}, {"content": "x"}, {"to": bob.user},
                 {"to": bob.user, "content": "x", "from": "other"}, {"type": "ack"}):
        alice.send(**keys)
        lib.fits(alice.recv("error"), lib.asyncapi(), "#/components/schemas/Error")


@row("3.frame-binary")
def test_a_binary_frame_is_read_by_the_same_rules_and_passed_on_as_text():
    alice, bob = pair()
    alice.send_frame(BINARY, json.dumps({"to": bob.user, "content": "é"}, ensure_ascii=False).encode())
    opcode, payload, fin = bob.recv_frame()
    eq((opcode, fin), (TEXT, True))
    eq(parse(payload.decode())["content"], "é")
    alice.send_frame(BINARY, b'{"type":"ping"}')
    alice.recv("pong")


@row("3.frame-binary", "7.1003")
def test_a_binary_frame_that_is_not_a_message_is_bad_and_the_connection_stays():
    for frame in (b"\x00\x01\x02", b"\xff\xfe", b"", b"PNG\r\n", b'{"to":"TO","content":"\xff"}',
                  b'{"to":"TO","content":"\xed\xa0\x80"}'):
        refused(frame, opcode=BINARY)


@row("3.frame-offline")
def test_the_sender_learns_that_the_receiver_is_offline():
    alice, _ = pair()
    nobody = name("nobody")
    alice.send(to=nobody, content="x", id="m1")
    alice.expect_error("user_offline", "m1", f"{nobody} is offline")


@row("3.frame-offline")
def test_a_receiver_that_has_left_is_offline():
    s = shared()
    alice, bob = pair(s)
    bob.close()
    s.gone(bob.user)
    alice.send(to=bob.user, content="x", id="m1")
    alice.expect_error("user_offline", "m1")


@row("3.no-answer")
def test_a_message_that_went_well_is_answered_with_nothing():
    alice, bob = pair()
    for i in range(10):
        alice.send(to=bob.user, content=str(i), id=str(i))
        bob.recv(content=str(i))
    alice.quiet()


@row("3.errors-only-to-sender")
def test_error_frames_go_only_to_the_connection_that_sent():
    s = shared()
    alice = s.ws(name("alice"))
    tablet, stream = s.ws(alice.user), s.sse(alice.user)
    for keys in ({"to": name("nobody"), "content": "x"}, {"content": "x"}, {"type": "ack"}):
        alice.send(**keys)
        alice.recv("error")
    alice.send(to=alice.user, content="marker")
    tablet.recv(content="marker")
    stream.recv(content="marker")


# ---- tickets ---------------------------------------------------------------------------------------------------------


@row("3.ticket", "2.attributes")
def test_a_ticket_message_reaches_all_connections_with_the_ticket_but_the_senders_own():
    with Server({"workers": 4}) as s:
        ticket = {"ticket_id": "T-1"}
        alice, tablet = s.ws("alice", query=ticket), s.ws("alice", query=ticket)
        others = [s.ws(f"user{i}", query=ticket) for i in range(6)] + [s.sse("stream", query=ticket)]
        outside = [s.ws("outside"), s.ws("elsewhere", query={"ticket_id": "T-2"}), s.ws("user0")]
        alice.send(ticket_id="T-1", content="x")
        for other in others:
            m = other.recv(content="x", from_="alice", to="")
            eq(m["ticket_id"], "T-1")
        for i, c in enumerate(outside):
            alice.send(to=c.user, content=f"marker{i}")
            c.recv(content=f"marker{i}")
        alice.send(to="alice", content="marker")
        tablet.recv(content="marker")
        alice.recv(content="marker")


@row("3.ticket")
def test_each_device_with_the_ticket_gets_it_once():
    s = shared()
    ticket = name("t")
    alice = s.ws(name("alice"), query={"ticket_id": ticket})
    bob = [s.ws(name("bob"), query={"ticket_id": ticket})]
    bob.append(s.ws(bob[0].user, query={"ticket_id": ticket}))
    alice.send(ticket_id=ticket, content="x")
    alice.send(ticket_id=ticket, content="y")
    for b in bob:
        b.recv(content="x")
        b.recv(content="y")
        b.quiet()


@row("3.ticket", "owasp.7")
def test_a_sender_outside_the_ticket_may_not_write_to_it():
    s = shared()
    ticket = name("t")
    bob = s.ws(name("bob"), query={"ticket_id": ticket})
    for alice in (s.ws(name("alice")), s.ws(name("alice"), query={"ticket_id": name("other")})):
        alice.send(ticket_id=ticket, content="x", id="m1")
        alice.expect_error("not_in_ticket", "m1")
        alice.send(to=bob.user, content="marker")
        bob.recv(content="marker")


@row("3.ticket")
def test_a_ticket_without_another_user_is_offline():
    s = shared()
    ticket = name("t")
    alice = s.ws(name("alice"), query={"ticket_id": ticket})
    tablet = s.ws(alice.user, query={"ticket_id": ticket})
    alice.send(ticket_id=ticket, content="x", id="m1")
    alice.expect_error("user_offline", "m1")
    tablet.quiet()


@row("3.ticket")
def test_a_ticket_is_joined_by_any_connection_of_the_sender():
    s = shared()
    ticket = name("t")
    alice, bob = s.ws(name("alice")), s.ws(name("bob"), query={"ticket_id": ticket})
    s.ws(alice.user, query={"ticket_id": ticket})
    alice.send(ticket_id=ticket, content="x")
    bob.recv(content="x", from_=alice.user)


@row("3.ticket")
def test_with_to_and_ticket_id_to_decides():
    s = shared()
    ticket = name("t")
    alice, carol = s.ws(name("alice"), query={"ticket_id": ticket}), s.ws(name("carol"), query={"ticket_id": ticket})
    bob = s.ws(name("bob"))
    alice.send(to=bob.user, ticket_id=ticket, content="x")
    eq(bob.recv(content="x", to=bob.user)["ticket_id"], ticket)
    alice.send(to=carol.user, content="marker")
    carol.recv(content="marker")


@row("3.ticket")
def test_an_empty_to_counts_as_none():
    s = shared()
    ticket = name("t")
    alice, bob = (s.ws(name(u), query={"ticket_id": ticket}) for u in ("alice", "bob"))
    alice.send(to="", ticket_id=ticket, content="x")
    bob.recv(content="x", to="")


# ---- fragments and control frames ------------------------------------------------------------------------------------


@row("3.frame-to", "threat 14")
def test_a_message_in_many_fragments_with_pings_between_is_one_message():
    alice, bob = pair()
    text = json.dumps({"to": bob.user, "content": "é漢\U0001f600" * 20}, ensure_ascii=False).encode()
    cuts = sorted(random.Random(5).sample(range(1, len(text)), 15))
    parts = [text[a:b] for a, b in zip([0] + cuts, cuts + [len(text)])]
    alice.send_frame(TEXT, parts[0], fin=False)
    for i, part in enumerate(parts[1:], 1):
        alice.send_frame(PING, f"p{i}".encode())
        eq(alice.recv_frame(), (PONG, f"p{i}".encode(), True))
        alice.send_frame(CONT, part, fin=i == len(parts) - 1)
    bob.recv(content="é漢\U0001f600" * 20)


@row("3.frame-to", "threat 6")
def test_a_message_one_byte_at_a_time_is_one_message():
    alice, bob = pair()
    alice.send_slowly(lib.frame(TEXT, json.dumps({"to": bob.user, "content": "slow"}).encode()))
    bob.recv(content="slow")


@row("3.frame-to")
def test_many_messages_in_one_packet_are_many_messages():
    alice, bob = pair()
    alice.send_raw(b"".join(lib.frame(TEXT, json.dumps({"to": bob.user, "content": str(i)}).encode())
                            for i in range(200)))
    for i in range(200):
        bob.recv(content=str(i))


@row("3.frame-to")
def test_a_message_right_behind_the_handshake_is_not_lost():
    s = shared()
    bob = s.ws(name("bob"))
    for _ in range(5):
        s.ws(name("alice"), behind=lib.frame(TEXT, json.dumps({"to": bob.user, "content": "early"}).encode()))
        bob.recv(content="early")


@row("3.frame-ping")
def test_protocol_pings_are_answered_with_their_payload():
    alice, _ = pair()
    for payload in (b"", b"x", bytes(range(125))):
        alice.send_frame(PING, payload)
        eq(alice.recv_frame(), (PONG, payload, True))
    alice.send_frame(PONG, b"unasked")
    alice.quiet()


# ---- order, exactly once ---------------------------------------------------------------------------------------------


@row("3.order", "threat 176")
def test_messages_of_one_sender_to_one_receiver_arrive_in_order_and_once():
    alice, bob = pair()
    n = 900
    for i in range(n):
        alice.send(to=bob.user, content=str(i))
        if i % 100 == 99:
            for j in range(i - 99, i + 1):
                bob.recv(content=str(j))
    bob.quiet()


@row("3.order", "threat 176")
def test_order_holds_over_workers_between_unicast_ticket_and_broadcast():
    with Server({"workers": 4, "security": {"enable_rate_limit": False}}) as s:
        receivers = [s.ws(f"r{i}", query={"ticket_id": "t"}) for i in range(8)]
        streams = [s.sse(f"s{i}", query={"ticket_id": "t"}) for i in range(4)]
        alice = s.ws("alice", query={"ticket_id": "t"})
        for i in range(60):
            for r in receivers + streams:
                alice.send(to=r.user, content=f"u{i}")
            alice.send(ticket_id="t", content=f"t{i}")
            if i % 20 == 19:
                for r in receivers + streams:
                    for j in range(i - 19, i + 1):
                        r.recv(content=f"u{j}")
                        r.recv(content=f"t{j}")


@row("3.order")
def test_sends_on_one_http_connection_keep_their_order_also_when_pipelined():
    with Server({"workers": 4}) as s:
        bob, stream = s.ws("bob"), s.sse("bob")
        h = s.http()
        n = 80
        h.send_raw(b"".join(h.build("POST", API + ("/broadcast" if i % 3 == 2 else "/send"),
                                    {"to": "bob", "content": str(i)} if i % 3 != 2
                                    else {"content": str(i)}, [("X-User-ID", "alice")]) for i in range(n)))
        for i in range(n):
            success(h.answer())
        for i in range(n):
            bob.recv(content=str(i))
            stream.recv(content=str(i))


@row("3.order")
def test_many_senders_and_receivers_lose_nothing_and_repeat_nothing_while_others_come_and_leave():
    """Each sender writes to each receiver; every receiver must see every sender's messages once and in order."""
    senders, receivers, each = 8, 8, 40
    with Server({"workers": 4, "security": {"enable_rate_limit": False}, "message_buffer_size": 100000,
                 "sse_message_buffer": 100000}) as s:
        ends = [s.ws(f"r{i}") if i % 2 else s.sse(f"r{i}") for i in range(receivers)]
        faults = []
        stop = threading.Event()

        def catch(f):
            def run(*args):
                try:
                    f(*args)
                except BaseException as e:
                    faults.append(e)
            return run

        @catch
        def churn():
            while not stop.is_set():
                with lib.Ws(s.address, "coming-and-going") as c:
                    c.quiet()

        @catch
        def send(i):
            if i % 2:
                c = lib.Ws(s.address, f"s{i}")
                for n in range(each):
                    for r in range(receivers):
                        c.send(to=f"r{r}", content=str(n))
                c.quiet()
            else:
                c = lib.Http(s.address)
                for n in range(each):
                    for r in range(receivers):
                        success(c.ask("POST", API + "/send", {"to": f"r{r}", "content": str(n)},
                                      [("X-User-ID", f"s{i}")]))
            c.cut()

        @catch
        def receive(end):
            seen = {}
            for _ in range(senders * each):
                m = end.recv()
                eq(m["to"], end.user)
                eq(int(m["content"]), seen.get(m["from"], -1) + 1, "from", m["from"], "to", end.user)
                seen[m["from"]] = int(m["content"])
            eq(seen, {f"s{i}": each - 1 for i in range(senders)})

        churner = threading.Thread(target=churn, daemon=True)
        churner.start()
        threads = [threading.Thread(target=send, args=(i,), daemon=True) for i in range(senders)]
        threads += [threading.Thread(target=receive, args=(e,), daemon=True) for e in ends]
        for t in threads:
            t.start()
        for t in threads:
            t.join(lib.LIMIT * 6)
            ok(not t.is_alive() or faults, "still busy")
        stop.set()
        churner.join(lib.LIMIT)
        if faults:
            raise faults[0]
        for e in ends:
            if isinstance(e, lib.Ws):
                e.quiet()


@row("3.order")
def test_a_fan_in_of_a_thousand_messages_at_once_closes_no_reader():
    with Server({"security": {"enable_rate_limit": False}}) as s:
        bob = s.ws("bob")
        senders = [s.ws(f"s{i}") for i in range(50)]
        burst = b"".join(lib.frame(TEXT, json.dumps({"to": "bob", "content": str(i)}).encode()) for i in range(20))
        for c in senders:
            c.send_raw(burst)
        seen = {}
        for _ in range(1000):
            m = bob.recv()
            eq(int(m["content"]), seen.get(m["from"], -1) + 1)
            seen[m["from"]] = int(m["content"])
        bob.quiet()


def stall(server, transport="ws"):
    """A receiver named slow that reads nothing for now, and a sender."""
    make = server.ws if transport == "ws" else server.sse
    return make("slow", rcvbuf=4096), server.http()


@row("3.gap-notice", "1.slow_consumer", "1.message_buffer_size", "threat 172")
def test_with_drop_oldest_a_gap_notice_stands_where_messages_were_dropped():
    with Server({"slow_consumer": "drop_oldest", "message_buffer_size": 10, "limits": {"write_timeout": "5m"},
                 "performance": {"kernel_queue": "4KiB"}}) as s:
        gap_story(s, *stall(s))


@row("3.gap-notice", "1.sse_message_buffer")
def test_a_stream_gets_the_gap_notice_too():
    with Server({"slow_consumer": "drop_oldest", "sse_message_buffer": 10, "limits": {"write_timeout": "5m"},
                 "performance": {"kernel_queue": "4KiB"}}) as s:
        gap_story(s, *stall(s, "sse"))


def gap_story(s, slow, http):
    n, filler = 150 if lib.CHOP else 600, "x" * 8000
    for i in range(n):
        success(http.ask("POST", API + "/send", {"to": "slow", "content": str(i), "filler": filler},
                         [("X-User-ID", "a")]))
    success(http.ask("POST", API + "/send", {"to": "slow", "content": "last"}, [("X-User-ID", "a")]))
    expected, dropped, gaps = 0, 0, 0
    while True:
        m = slow.recv()
        if m["type"] == "gap":
            eq((m["from"], m["to"]), ("system", "slow"))
            ok(isinstance(m["data"]["dropped"], int) and m["data"]["dropped"] > 0, m)
            lib.fits(m, lib.asyncapi(), "#/components/schemas/Gap")
            expected += m["data"]["dropped"]
            dropped += m["data"]["dropped"]
            gaps += 1
            continue
        if m["content"] == "last":
            break
        eq(int(m["content"]), expected, "messages are missing without a notice, or the notice stands elsewhere")
        expected += 1
    eq(expected, n, "the messages and the gaps together are all that was sent")
    ok(dropped > 100 and gaps >= 1, dropped, "were dropped in", gaps, "gaps")
    ok(n - dropped >= 10, "the newest 10 must still be there")
