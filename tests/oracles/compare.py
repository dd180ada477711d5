# SPDX-License-Identifier: Apache-2.0
"""Our codecs against those of other projects: the readings of the same bytes, and which differences are explained.

A pair is a generator, two sides that turn inputs into readings, and a judge. The judge returns None when both mean the
same, the name of a rule when we have decided on the difference (RULES says why), or a story. A rule names our reason or
theirs, and looks at the bytes: it never excuses more than it names.
"""
# Shows: server.oracles
import codecs
import json
import os
import re
import struct
import subprocess
import sys

import h11
from wsproto import frame_protocol

import generate

sys.set_int_max_str_digits(0)


class Program:
    """One of the C programs of this directory: inputs in, a line each out."""

    def __init__(self, build, *command):
        self.command = [os.path.join(build, "tests/oracles", command[0]), *command[1:]]

    def __call__(self, inputs):
        data = b"".join(struct.pack("<I", len(i)) + i for i in inputs)
        lines = subprocess.run(self.command, input=data, stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
        if len(lines) != len(inputs) + 1:
            raise AssertionError(f"{len(inputs)} inputs, {len(lines) - 1} answers")
        return lines[:-1]


def unhex(text):
    return bytes.fromhex(text.lstrip("-"))


# ---- HTTP ------------------------------------------------------------------------------------------------------------


class Request:
    def __init__(self, method, target, minor, keep, fields):
        self.method, self.target, self.minor = method, target, minor
        self.keep, self.fields, self.body = keep, fields, b""

    def head(self):
        return (self.method, self.target, self.minor, self.keep, self.fields)

    def __repr__(self):
        return f"{self.head()} body {self.body!r}"


class Reading:
    """A parser's reading of an input: requests, then how it ends: end, close, more or error, and why. The last request
    of a reading that ended in more or error may be only its head (inside: True)."""

    def __init__(self, requests, end, why="", inside=False):
        self.requests, self.end, self.why, self.inside = requests, end, why, inside

    def __repr__(self):
        return f"{self.requests} {self.end} {self.why}"


def field_value(name, value):
    """Names in small letters; h11 normalises the value of this one field too."""
    return (name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value)


def http_of_line(line):
    words, requests, i, whole = line.split(" "), [], 0, True
    while words[i] == "R":
        fields = [field_value(*map(unhex, f.split(":"))) for f in words[i + 5].split(",") if f]
        one = Request(unhex(words[i + 1]), unhex(words[i + 2]), int(words[i + 3]), words[i + 4] == "1", fields)
        one.body = unhex(words[i + 6])
        requests.append(one)
        whole = words[i + 7] == "."
        i += 7 + whole
    return Reading(requests, words[i], " ".join(words[i + 1:]), inside=not whole)


def http_h11(data):
    """h11, the way a server drives it: every request is answered, so that the next one is read."""
    conn, requests = h11.Connection(h11.SERVER), []
    if not data:
        return Reading([], "more")  # for h11 that would be the end of the connection
    try:
        conn.receive_data(data)
        inside = False
        while True:
            event = conn.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return Reading(requests, "more" if inside or conn.trailing_data[0] or not requests else "end",
                               inside=inside)
            if isinstance(event, h11.Request):
                inside = True
                requests.append(Request(event.method, event.target, int(event.http_version[2:]), None,
                                        [field_value(n, v) for n, v in event.headers]))
            elif isinstance(event, h11.Data):
                requests[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                inside = False
                conn.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                conn.send(h11.EndOfMessage())
                requests[-1].keep = conn.our_state is h11.DONE
                if not requests[-1].keep:
                    return Reading(requests, "close")
                if not conn.trailing_data[0]:
                    return Reading(requests, "end")
                conn.start_next_cycle()
    except h11.RemoteProtocolError as e:
        return Reading(requests, "error", str(e), inside=inside)


def same_requests(ours, theirs):
    """None, or the difference in the requests that both have, bodies of unfinished ones aside. HTTP/1.0 alone: whether
    the connection goes on is not asked, since h11 never lets it."""
    for i, (a, b) in enumerate(zip(ours.requests, theirs.requests)):
        if (a.head()[:3], a.fields) != (b.head()[:3], b.fields):
            return f"heads of request {i}: {a.head()} and {b.head()}"
        if a.minor and None not in (a.keep, b.keep) and a.keep != b.keep:
            return f"close or not: {a.head()} and {b.head()}"
        last = i == len(ours.requests) - 1 and ours.inside or i == len(theirs.requests) - 1 and theirs.inside
        if not last and a.body != b.body:
            return f"bodies of request {i}: {a.body!r} and {b.body!r}"
    return None


def http_judge(strict, lax, who):
    """@strict: rules for input that only we refuse, by our reason; @lax: for input that only they refuse, by theirs."""
    def explain(rules, why, data):
        for rule, (pattern, bytes_pattern) in rules.items():
            if re.search(pattern, why) and (bytes_pattern is None or re.search(bytes_pattern, data)):
                return f"{who}: {rule}"
        return None

    def judge(data, ours, theirs):
        different = same_requests(ours, theirs)
        if different and different.startswith("close or not"):
            rule = explain(KEEP, different, data)
            return rule, None if rule else different
        if different:
            return None, different
        a, b = len(ours.requests) - ours.inside, len(theirs.requests) - theirs.inside
        if any(r.minor == 0 for r in ours.requests + theirs.requests) and "close" in (ours.end, theirs.end):
            return None, None  # the parser that goes on after HTTP/1.0 has no other reading to be compared with
        if ours.end == "error" and theirs.end == "error":
            if a == b or (ours.requests and not ours.inside and a < b and explain(strict, ours.why, data)):
                return None, None
        if ours.end == theirs.end and a == b and len(ours.requests) == len(theirs.requests):
            return None, None
        if ours.end == "error" and a <= b:
            rule = explain(strict, ours.why, data)
            return rule, None if rule else f"only we refuse: {ours.why}"
        if theirs.end == "error" and b <= a:
            if ours.end == "more" and a == b and len(ours.requests) <= len(theirs.requests):
                return f"{who}: not whole yet: we judge a line when it has ended", None
            rule = explain(lax, theirs.why, data)
            return rule, None if rule else f"only they refuse: {theirs.why}"
        return None, "they end in different ways"
    return judge


# Input that only we refuse: by our reason, and by bytes that must be in it. The contract: input that two readers could
# read in two ways is 400. Each rule is one of tests/conformance_http/cases.txt too.
STRICT = {
    "Host is there once, and a host name": (r" Host ", None),
    "a line ends in CR LF (RFC 9112 2.2 would let a bare LF pass)": (r"ends without CR", rb"\n"),
    "CR stands only before LF (2.2)": (r"a CR without LF", rb"\r"),
    "one empty line may stand before a request (2.2: at least one)": (r"there are empty lines before", rb"\r\n\r\n"),
    "no line begins with white space: no folding (5.2)": (r"begins with white space", rb"\n[ \t]"),
    "a header has a colon (5)": (r"has no colon", None),
    "a header name is a token, and ends at its colon (5.1)": (r"header name is not a token", None),
    "no control bytes (9110 5.5)": (r"a control byte", rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    "a target is a path, an http URL, or * for OPTIONS (3.2)": (r"neither a path nor", None),
    "a target is visible ASCII without # (3.2)": (r"target has bytes that are not allowed", rb"[\x80-\xff#\x00-\x1f\x7f]"),
    "no HTTP/0.9 (2.3)": (r"no HTTP version", None),
    "a request line has three words and two spaces (3)": (r"request line is malformed", None),
    "HTTP/1.0 and 1.1 alone (2.3)": (r"^505 ", rb"HTTP/(?!1\.[01]\r)"),
    "CONNECT is not offered (9110 9.3.6)": (r"^501 CONNECT", rb"CONNECT"),
    "a method is a token (9110 9.1)": (r"method is not a token", None),
    "a coding is chunked, once (6.1 would let others stand before it)": (r"is not .chunked. alone", rb"(?i)transfer-encoding"),
    "no Transfer-Encoding in HTTP/1.0 (6.1)": (r"not part of HTTP/1.0", rb"HTTP/1\.0"),
    "never both lengths (6.1 would let Transfer-Encoding win)":
        (r"both Content-Length and Transfer-Encoding", rb"(?is)content-length.*transfer-enc|transfer-enc.*content-length"),
    "one Content-Length (6.3 would let equal ones pass)":
        (r"Content-Length appears twice", rb"(?is)content-length.*content-length"),
    "a length is digits, at most 19": (r"Content-Length is not a number", rb"(?i)content-length"),
    "no expectation but 100-continue (9110 10.1.1)": (r"^417 ", rb"(?i)expect"),
    "a body has at most a mebibyte here": (r"^413 ", None),
    "no chunk extensions (7.1.1 would have them passed over)": (r"chunked body is malformed", rb"[0-9a-fA-F][ \t]*;"),
    "a chunk size has at most 16 digits, and no blank behind it":
        (r"chunked body is malformed", rb"0{8}|[0-9a-fA-F][ \t]"),
    "lines of chunks and trailers end in CR LF, with no control bytes":
        (r"chunked body is malformed", rb"[^\r]\n|\r[^\n]|[\x00-\x08\x0b-\x1f\x7f]"),
}

# Input that only they refuse, by their reason. RFC 9112 allows each.
LLHTTP_LAX = {
    "a method that llhttp does not know: 405 or 404 is for us to say (9110 9.1)":
        (r"INVALID_METHOD|HTTP/2 Connection Preface|SOURCE", None),
    "trailers are checked for their form and thrown away, whatever they say (6.5.1)":
        (r"INVALID_TRANSFER_ENCODING|UNEXPECTED_CONTENT_LENGTH|INVALID_CONTENT_LENGTH|INVALID_HEADER",
         rb"\n0+\r\n[A-Za-z]"),
    "a tab behind a value is white space (5)": (r"INVALID_CONTENT_LENGTH|INVALID_TRANSFER_ENCODING", rb"\t[ \t]*\r\n"),
}
H11_LAX = {
    "one empty line before a request is passed over (2.2)": (r"no request line received", rb"(^|\r\n)\r\n"),
    "trailers are checked for their form and thrown away, whatever they say (6.5.1)":
        (r"Transfer-Encoding|Content-Length", rb"\n0+\r\n[A-Za-z]"),
}

# We keep the connection and they do not, or the other way round.
KEEP = {
    "Proxy-Connection says nothing to us (C.2.2), and ends connections for llhttp":
        (r"b'proxy-connection', b'close'", None),
    "a tab behind close is white space (5)": (r"", rb"(?i)connection:[^\r\n]*close[ \t]*\t"),
}


# ---- JSON ------------------------------------------------------------------------------------------------------------


class Pairs(list):
    pass


def no_constant(text):
    raise ValueError(f"{text} is no JSON")


def whole_text(text):
    """As UTF-8 has it: half of a pair becomes U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text), bool(re.search("[\ud800-\udfff]", text))


TYPES = {type(None): "null", int: "number", float: "number", str: "string", list: "array", Pairs: "object"}


def python_value(v):
    if isinstance(v, bool):
        return "true" if v else "false", "-", False
    kind = TYPES[type(v)]
    if kind == "string":
        text, lone = whole_text(v)
        return kind, text.encode().hex() or "-", lone
    if kind == "number" and isinstance(v, int) and -2 ** 63 <= v < 2 ** 63:
        return kind, str(v), False
    return kind, "-", False


def python_json(data):
    """The line that verdicts would print, by Python's json; None: not JSON."""
    try:
        v = json.loads(data.decode(), parse_constant=no_constant, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return None
    kind, text, lone = python_value(v)
    line = f"ok {int(lone)} {kind} {text}" if kind == "string" else f"ok {kind} {text}"
    if kind == "object":
        for key, one in v:
            name, lone_name = whole_text(key)
            kind, text, lone = python_value(one)
            line += f" {name.encode().hex() or '-'} {int(lone or lone_name)} {kind} {text}"
    return line


def depth(data):
    """The deepest nesting of a text, strings aside."""
    level = deepest = 0
    for c in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data, flags=re.S):
        level += (c in b"[{") - (c in b"]}")
        deepest = max(deepest, level)
    return deepest


def json_judge(data, ours, theirs):
    if ours == theirs or (theirs is None and not ours.startswith("ok")):
        return None, None
    if ours == "depth" and depth(data) > 64:
        return "json: deeper than 64 levels", None
    return None, f"{ours} and {theirs}"


# ---- UTF-8 -----------------------------------------------------------------------------------------------------------


def python_utf8(data):
    try:
        data.decode()
        return "valid"
    except UnicodeDecodeError as e:
        if e.reason == "unexpected end of data":
            return "cut"
        return f"bad {e.start if e.reason == 'invalid start byte' else e.end}"


def same_line(data, ours, theirs):
    return None, None if ours == theirs else f"{ours} and {theirs}"


# ---- WebSocket -------------------------------------------------------------------------------------------------------


def hexed(data):
    return "-" + data.hex()


def wsproto(data):
    """The line that verdicts would print, by wsproto."""
    p, out, message, kind = frame_protocol.FrameProtocol(client=False, extensions=[]), [], b"", None
    names = {frame_protocol.Opcode.TEXT: "text", frame_protocol.Opcode.BINARY: "binary"}
    p.receive_bytes(data)
    try:
        for f in p.received_frames():
            if f.opcode in names:
                kind = names[f.opcode]
                message += f.payload.encode() if isinstance(f.payload, str) else bytes(f.payload)
                if f.message_finished:
                    out.append(f"{kind} {hexed(message)}")
                    message = b""
            elif f.opcode is frame_protocol.Opcode.CLOSE:
                code, reason = f.payload
                out.append(f"close {int(code)} {hexed((reason or '').encode())}")
                break
            else:
                out.append(f"{f.opcode.name.lower()} {hexed(bytes(f.payload))}")
        out.append("more")
    except frame_protocol.ParseFailed as e:
        out.append(f"error {int(e.code)}")
    return " ".join(out)


def events(line):
    """The events of a line and how it ends."""
    words, out = line.split(" "), []
    while words[0] not in ("more", "error"):
        n = 3 if words[0] == "close" else 2
        out.append(tuple(words[:n]))
        words = words[n:]
    return out, " ".join(words)


REST_OF_HEADER = b"\x80" + bytes(20)  # completes any header that ended behind its first byte


def frames(data):
    """The (opcode, payload) of each frame, read without any judgement; the last payload may be cut short."""
    while len(data) >= 6:
        n, at = data[1] & 127, 2
        if n > 125:
            at = 4 if n == 126 else 10
            n = int.from_bytes(data[2:at], "big")
        yield data[0] & 15, generate.mask(data[at + 4:at + 4 + n], data[at:at + 4])
        data = data[at + 4 + n:]


def close_code(data):
    """The code of the first close frame, or None."""
    return next((int.from_bytes(p[:2], "big") for opcode, p in frames(data) if opcode == 8), None)


def ends_in_half_a_surrogate(data):
    """Does a frame end behind the second byte of a surrogate (0xed, 0xa0 to 0xbf)?"""
    text = b""
    for opcode, payload in frames(data):
        text = text + payload if opcode == 0 else payload if opcode in (1, 2) else text
        if re.search(rb"\xed[\xa0-\xbf]$", text):
            return True
    return False


def ws_judge(data, ours, theirs):
    if ours == theirs:
        return None, None
    (a, a_end), (b, b_end) = events(ours), events(theirs)
    if a == b and b_end == "more" and events(wsproto(data + REST_OF_HEADER)) == (a, a_end):
        return "ws: refused at its first wrong byte, where wsproto waits for the rest of the header", None
    if a_end == "error 1007" and a == b[:len(a)] and ends_in_half_a_surrogate(data):
        return "ws: a surrogate is refused at its second byte, where Python's decoder waits for the third", None
    if a == b and a_end == "error 1009":
        return "ws: a message over the limit, which wsproto does not have", None
    if (a[:-1] if a_end == "more" else a) == b and b_end == "error 1002" and close_code(data) == 1014:
        return "ws: close code 1014 (bad gateway) is registered with IANA, and wsproto does not know it", None
    return None, f"{ours[-200:]} and {theirs[-200:]}"


# ---- all of them -----------------------------------------------------------------------------------------------------


def each(f):
    return lambda inputs: [f(i) for i in inputs]


def after(program, f):
    return lambda inputs: [f(line) for line in program(inputs)]


def pairs(build):
    """name: (generator, ours, theirs, judge, thousands of inputs in a short run)"""
    verdicts = {mode: Program(build, "verdicts", mode) for mode in ("http", "json", "utf8", "ws")}
    http = after(verdicts["http"], http_of_line)
    return {
        "http-llhttp": (generate.http, http, after(Program(build, "llhttp"), http_of_line),
                        http_judge(STRICT, LLHTTP_LAX, "llhttp"), 20),
        "http-h11": (generate.http, http, each(http_h11), http_judge(STRICT, H11_LAX, "h11"), 6),
        "json-python": (generate.json_text, verdicts["json"], each(python_json), json_judge, 20),
        "json-written-by-python": (generate.json_round_trip, verdicts["json"], each(python_json), json_judge, 5),
        "utf8-python": (generate.utf8, verdicts["utf8"], each(python_utf8), same_line, 20),
        "ws-wsproto": (generate.ws, verdicts["ws"], each(wsproto), ws_judge, 8),
    }
