#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""JSON to the letter: texts that are JSON and texts that are not, through the scanner and through the server.

usage: run.py PROGRAM [TEXT...]    only tests whose name contains a TEXT
The cases are lines of cases.txt; Python's own json, in its strictest mood, must agree with every one of them.
Prints "N passed, N failed"; a case counts as one, on each way that it takes.
"""
import json
import os
import re
import struct
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(TESTS, "e2e"), os.path.join(TESTS, "conformance_http")]
sys.dont_write_bytecode = True
if len(sys.argv) > 1:
    os.environ["E2E_WSC"] = os.path.abspath(sys.argv[1])

import cases  # noqa: E402
import lib  # noqa: E402
from lib import API, Server, Wrong, eq, ok  # noqa: E402

DEEPEST = 64


def read():
    """Tuples of class, name and bytes."""
    out = []
    with open(os.path.join(HERE, "cases.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                kind, name, text = line.split(" | ", 2)
                out += [(kind, full, data) for full, data in cases.expand(name, text, {})]
    return out


CASES = read()


def yes(kind):
    return kind in ("yes", "whole yes")


def verdicts(texts):
    """The scanner's verdicts, a line for each text."""
    program = os.path.join(os.path.dirname(lib.program()), "tests/oracles/verdicts")
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    return subprocess.run([program, "json"], input=data, stdout=subprocess.PIPE,
                          check=True).stdout.decode().splitlines()


def each_case(check, some=CASES):
    stories = []
    for case in some:
        try:
            check(*case)
        except (AssertionError, OSError) as e:
            stories.append(f"{case[0]}: {case[1]}: {case[2][:120]!r}\n  {e}")
    return len(some), stories


def no_constants(text):
    raise ValueError(text)


# Shows: 3.json
def test_pythons_json_agrees_with_every_case_of_the_table():
    def check(kind, name, data):
        if kind == "deep":
            return
        try:
            json.loads(data.decode(), parse_constant=no_constants)
            accepted = True
        except (ValueError, RecursionError):
            accepted = False
        eq(accepted, yes(kind))
    sys.set_int_max_str_digits(0)
    return each_case(check)


# Shows: 3.json, threat 77
def test_the_scanner_accepts_json_and_nothing_else():
    lines = iter(verdicts([data for _, _, data in CASES]))

    def check(kind, name, data):
        line = next(lines)
        if yes(kind):
            eq(line.split()[0], "ok", line)
        elif kind == "deep":
            eq(line, "depth")
        else:
            ok(line in ("syntax", "utf8", "empty"), line)
    return each_case(check)


# ---- through the server ----------------------------------------------------------------------------------------------


class Way:
    """To the server by one way, as a whole message. got(): the message that the receiver got, or a refusal's code."""

    def __init__(self, server):
        self.server, self.n = server, 0
        self.bob = server.ws("bob")

    def received(self):
        return self.bob.recv_text().encode()


class ByCall(Way):
    def __init__(self, server):
        super().__init__(server)
        self.http = server.http()

    def got(self, body):
        a = self.http.ask("POST", API + "/send", body, [("X-User-ID", "alice")])
        if a.status != 200:
            return lib.failure(a, a.status, a.json()["code"])["code"]
        lib.success(a)
        return self.received()


class BySocket(Way):
    binary = False

    def __init__(self, server):
        super().__init__(server)
        self.alice = server.ws("alice")

    def got(self, body):
        self.alice.send_frame(lib.BINARY if self.binary else lib.TEXT, body)
        self.alice.send_text("ping")  # an error frame comes before its answer, or there is none
        text = self.alice.recv_text()
        if text == "pong":
            return self.received()
        eq(self.alice.recv_text(), "pong")
        return lib.is_message(lib.parse(text))["data"]["code"]


class BySocketInBinary(BySocket):
    binary = True


WAYS = (ByCall, BySocket, BySocketInBinary)


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def through(each):
    """Runs each(way, kind, name, data) for every case and way. Text frames carry only UTF-8."""
    n, stories = 0, []
    with Server({"security": {"enable_rate_limit": False}}) as s:
        for kind in WAYS:
            way = kind(s)
            some = [c for c in CASES if kind is not BySocket or is_utf8(c[2])]
            m, more = each_case(lambda *case: each(way, *case), some)
            n, stories = n + m, stories + [f"{kind.__name__}: {x}" for x in more]
            way.bob.cut()
    return n, stories


def holds(got, part):
    ok(isinstance(got, bytes) and part in got, "got", got[:300])


def as_passed_on(text):
    """The form in which data arrives: line ends between tokens are blanks, nothing else changes."""
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


# Shows: 3.json
def test_inside_of_data_every_json_text_is_passed_on_byte_by_byte_and_nothing_else_is():
    def each(way, kind, name, data):
        if kind.startswith("whole"):
            return
        got = way.got(b'{"to":"bob","content":"x","data":{"v":' + data + b"}}")
        if kind == "yes":
            holds(got, b'"data":{"v":' + as_passed_on(data) + b"}")
        else:
            ok(got in ("bad_message", "bad_request"), got[:200])
    return through(each)


# Shows: 3.json
def test_behind_an_unknown_key_every_json_text_is_passed_on_byte_by_byte():
    """Except for lone surrogates in a text of the top level: such a message is refused."""
    def each(way, kind, name, data):
        if kind.startswith("whole"):
            return
        got = way.got(b'{"to":"bob","content":"x","own":' + data + b"}")
        if kind == "yes" and name.startswith("half a pair:"):
            ok(got in ("bad_message", "bad_request"), got[:200])
        elif kind == "yes":
            holds(got, b'"own":' + as_passed_on(data.rstrip(b" \t\r\n")))
        else:
            ok(got in ("bad_message", "bad_request"), got[:200])
    return through(each)


# Shows: 3.json
def test_as_a_message_every_text_that_is_no_object_with_a_receiver_is_refused():
    def each(way, kind, name, data):
        got = way.got(data)
        ok(got in ("bad_message", "bad_request", "no_recipient", "missing_field"), got[:200])
        if not yes(kind):
            ok(got in ("bad_message", "bad_request"), got)
    return through(each)


# ---- left open by the grammar ----------------------------------------------------------------------------------------

MESSAGE = b'{"to":"bob","content":"x"%s}'
DOCUMENTED = [  # name, message, result: a code, or a part of the message that the receiver gets
    ("a known key twice", b'{"to":"bob","to":"bob","content":"x"}', "bad_message"),
    ("a known key twice, once escaped", b'{"to":"bob","t\\u006f":"bob","content":"x"}', "bad_message"),
    ("an unknown key twice", MESSAGE % b',"own":1,"own":1', "bad_message"),
    ("an unknown key twice, once escaped", MESSAGE % b',"own":1,"\\u006fwn":1', "bad_message"),
    ("an empty key twice", MESSAGE % b',"":1,"":1', "bad_message"),
    ("data twice", MESSAGE % b',"data":{},"data":{}', "bad_message"),
    ("a key twice far apart", MESSAGE % (b',"own":1' + b"".join(b',"k%d":1' % i for i in range(40)) + b',"own":2'),
     "bad_message"),
    ("a key in other case is another key", MESSAGE % b',"To":"x","TO":"y"', b'"To":"x","TO":"y"'),
    ("a key twice inside of data", MESSAGE % b',"data":{"a":1,"a":2}', b'"data":{"a":1,"a":2}'),
    ("a key twice inside of an unknown key", MESSAGE % b',"own":{"a":1,"a":2}', b'"own":{"a":1,"a":2}'),
    ("half a pair in content", b'{"to":"bob","content":"\\ud800"}', "bad_message"),
    ("half a pair in a key", MESSAGE % b',"\\udc00":1', "bad_message"),
    ("half a pair in a known key", MESSAGE % b',"priority":"\\ud83d"', "bad_message"),
    ("half a pair in an unknown text", MESSAGE % b',"own":"\\ud83d"', "bad_message"),
    ("half a pair in data", MESSAGE % b',"data":{"a":"\\ud800"}', b'"data":{"a":"\\ud800"}'),
    ("half a pair in an unknown array", MESSAGE % b',"own":["\\ud800"]', b'"own":["\\ud800"]'),
    ("a whole pair in content", b'{"to":"bob","content":"\\ud83d\\ude00"}', b'"content":"'),
    ("a byte order mark", b"\xef\xbb\xbf" + MESSAGE % b"", "bad_message"),
    ("NUL behind the message", MESSAGE % b"" + b"\0", "bad_message"),
    ("two messages", MESSAGE % b"" + MESSAGE % b"", "bad_message"),
    ("an integer of 2^63 - 1", MESSAGE % b',"data":{"n":9223372036854775807}', b'"n":9223372036854775807}'),
    ("an integer beyond 2^64", MESSAGE % b',"data":{"n":18446744073709551617}', b'"n":18446744073709551617}'),
    ("an integer of 400 digits", MESSAGE % (b',"data":{"n":' + b"9" * 400 + b"}"), b"9" * 400),
    ("a number that no machine holds", MESSAGE % b',"data":{"n":1e400}', b'"n":1e400}'),
    ("minus zero", MESSAGE % b',"data":{"n":-0}', b'"n":-0}'),
    ("a fraction with zeros at its end", MESSAGE % b',"data":{"n":1.500}', b'"n":1.500}'),
    ("data that is an array", MESSAGE % b',"data":[]', "bad_message"),
    ("data that is a text", MESSAGE % b',"data":"x"', "bad_message"),
    ("null in a known key", MESSAGE % b',"data":null,"priority":null,"reply_to_msg_id":null', b'"content":"x"'),
    ("62 levels inside of data", MESSAGE % (b',"data":{"v":' + b"[" * 62 + b"]" * 62 + b"}"), b"[" * 62 + b"]" * 62),
    ("63 levels inside of data", MESSAGE % (b',"data":{"v":' + b"[" * 63 + b"]" * 63 + b"}"), "bad_message"),
    ("63 levels behind an unknown key", MESSAGE % (b',"own":' + b"[" * 63 + b"]" * 63), b"[" * 63 + b"]" * 63),
    ("64 levels behind an unknown key", MESSAGE % (b',"own":' + b"[" * 64 + b"]" * 64), "bad_message"),
]


# Shows: 3.json
def test_texts_that_the_grammar_leaves_open_come_out_as_documented():
    def check(way, wanted, message):
        got = way.got(message)
        if isinstance(wanted, bytes):
            holds(got, wanted)
        else:
            ok(got in (wanted, "bad_request"), "got", got[:300])
    n, stories = 0, []
    with Server({"security": {"enable_rate_limit": False}}) as s:
        for kind in WAYS:
            way = kind(s)
            for name, message, wanted in DOCUMENTED:
                n += 1
                try:
                    check(way, wanted, message)
                except Wrong as e:
                    stories.append(f"{kind.__name__}: {name}: {message[:120]!r}\n  {e}")
            way.bob.cut()
    return n, stories


def main():
    passed = failed = 0
    for name, test in [(n, f) for n, f in globals().items() if re.match("test_", n)]:
        if len(sys.argv) > 2 and not any(t in name for t in sys.argv[2:]):
            continue
        started = time.monotonic()
        try:
            n, stories = test()
        except Exception as e:
            n, stories = 1, [traceback.format_exc() + getattr(e, "server_log", "")[-8000:]]
        bad = min(n, len(stories))
        passed, failed = passed + n - bad, failed + bad
        print(f"{'FAIL' if bad else 'ok  '}  {name}: {n - bad} of {n} ({time.monotonic() - started:.1f} s)", flush=True)
        for story in stories[:20]:
            print("      " + story.replace("\n", "\n      "), flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
