# SPDX-License-Identifier: Apache-2.0
"""Inputs for the oracles: made by the grammar, often nearly right, and then often spoiled a little.

Every function takes a random.Random and returns bytes; the same seed gives the same inputs.
"""
import json
import struct

SPECIAL = [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"\"", b"\\", b"\x7f", b"\x80", b"\xff", b"0",
           b"1", b"a", b"x", b"{", b"}", b"[", b"]", b"-", b"+", b".", b"e", b"/", b"?", b"#", b"%", b"\x0b", b"\x1f",
           b"\xc2", b"\xed\xa0\x80", b"\xf4\x90", b"\xef\xbb\xbf"]


def spoil(r, data):
    """A few small accidents."""
    data = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        at = r.randrange(len(data) + 1)
        kind = r.randrange(6)
        if kind == 0:
            data[at:at] = r.choice(SPECIAL)
        elif kind == 1 and data:
            del data[at:at + r.choice((1, 1, 2, 4))]
        elif kind == 2 and at < len(data):
            data[at] = r.randrange(256)
        elif kind == 3 and at < len(data):
            data[at] ^= 1 << r.randrange(8)
        elif kind == 4:
            data[at:at] = data[at:at + r.choice((1, 2, 5, 20))]
        elif data:
            del data[at:]
            if r.randrange(2):
                data += r.choice(SPECIAL)
    return bytes(data)


# ---- HTTP ------------------------------------------------------------------------------------------------------------

METHODS = [b"GET"] * 6 + [b"POST"] * 6 + [b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"M-SEARCH",
                                          b"PROPFIND"]
ODD_METHODS = [b"get", b"G@T", b"", b"GETX", b"GE", b"CONNECT", b"QUERY", b"PRI", b"Get", b"!#$", b"G\x80T", b"SOURCE"]
TARGETS = [b"/"] * 4 + [b"/a?b=c", b"/a/b", b"/%41", b"http://h/x", b"http://h", b"/?", b"//x", b"/a;b"]
ODD_TARGETS = [b"*", b"h:80", b"", b"/a b", b"/\x80", b"/a#b", b"/\t", b"x", b"?x", b"http://", b"https://u@h/",
               b"ws://h/x", b"/\x00", b"/\x7f", b"HTTP/1.1", b"/a\"b", b"/<>", b"/{|}", b"/\\"]
VERSIONS = [b"HTTP/1.1"] * 24 + [b"HTTP/1.0"] * 3
ODD_VERSIONS = [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"", b"HTTP/1.10", b"HTTP/1.1 ", b"HTTP/1",
                b"HTTP/1.1\t",
                b"HTTP/11", b"ICE/1.0", b"HTTP/1.01", b"HTTP/9.9", b"HTTP /1.1"]
ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r", b" \r\n", b"\t\r\n"]
FIELDS = [b"A: b", b"A:b", b"A:", b"A: \tb\t ", b"X-Long: " + b"v" * 60, b"Accept: */*", b"A: b\tc", b"A: \x80\xff",
          b"Cookie: a=b; c=d", b"Upgrade: websocket", b"Connection: keep-alive", b"Connection: close",
          b"Connection: upgrade", b"Expect: 100-continue", b"Connection: a, close ,b", b"TE: trailers",
          b"Keep-Alive: 5", b"connection: CLOSE", b"!#$%&'*+-.^_`|~: b"]
ODD_FIELDS = [b"A : b", b"A\t: b", b" A: b", b"\tA: b", b": b", b":", b"A", b"A b: c", b"A\x80: b", b"A: b\x00c",
              b"A: b\x01", b"A: b\x7f", b"A(: b", b"A: b\r\n c", b"A: b\r\n\tc", b"A: b\nC: d", b"A: b\rC: d",
              b"A: b\r", b"A\x00: b", b"\x00: b", b"A[]: b", b"Host: x", b"Expect: x", b"Connection:", b"Connection: ,",
              b"Connection: close, keep-alive", b"Proxy-Connection: close"]
HOSTS = [b"Host: h"] * 20 + [b"host: h:80", b"HOST:[::1]", b"Host: example.com"]
ODD_HOSTS = [b"", b"Host:", b"Host: h\r\nHost: h", b"Host: a b", b"Host: a/b", b"Host: h\r\nHost: i", b"Host: h:x",
             b"Host: a,b", b"Host: u@h", b"Host: [", b"Host: a%b", b"Host: \x80"]
ODD_LENGTHS = [b"%d, %d", b"+%d", b"-%d", b"0x%x", b"%d ", b" %d", b"0%d", b"%d.0", b"%de0", b"\"%d\"", b"%d\x00",
               b"%d\t", b"", b"18446744073709551616", b"18446744073709551615", b"9223372036854775808",
               b"99999999999999999999999", b"4294967296", b"%d;", b"%d a", b"\x0b%d", b"1 %d", b"0_%d", b",%d", b"%d,"]
ODD_CODINGS = [b"Chunked", b"CHUNKED", b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"identity", b"gzip",
               b"xchunked", b"chunkedx", b"\x0bchunked", b"chunked\x0b", b"\"chunked\"", b"chunked;a", b"", b",chunked",
               b"chunked,", b"chunked\x00", b"\x00chunked", b"chunke", b"identity, chunked", b"chunked\x80",
               b"chunk ed", b"chunked \t", b"\tchunked"]
ODD_SIZES = [b"0x%x", b"%x ", b" %x", b"%x;a", b"%x;a=b", b"%x;a=\"b\"", b"%x\t", b"+%x", b"-%x", b"", b"g", b"%xg",
             b"%x;", b"%x ;a", b"%x;a\n", b"%x\r", b"fffffffffffffffff", b"ffffffffffffffff", b"8000000000000000",
             b"0000000000000000%x", b"00000000%x", b"%x,", b"%x\x00", b"\n%x", b"%x;\r", b"100000000"]
TRAILERS = [b"X: y\r\n", b"X:\r\nY: z\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n"]
ODD_TRAILERS = [b"X\r\n", b" X: y\r\n", b"X : y\r\n", b"X: y\n", b"X: y\r\n z\r\n", b": y\r\n", b"X: \x00\r\n", b"\n",
                b"\r", b"GET / HTTP/1.1\r\n"]


def pick(r, plain, odd, one_in=14):
    return r.choice(odd) if r.randrange(one_in) == 0 else r.choice(plain)


def formatted(form, n):
    count = form.count(b"%d") + form.count(b"%x")
    return form % ((n,) * count) if count else form


def chunk_size(r, n):
    size = formatted(pick(r, [b"%x", b"%x", b"0%x"], ODD_SIZES, 16), n)
    return size.upper() if r.randrange(4) == 0 else size


def chunked(r):
    out = b""
    for _ in range(r.choice((0, 1, 1, 2, 3))):
        n = r.choice((1, 2, 3, 10, 17))
        data = bytes(r.choice(b"ab0\r\n{") for _ in range(n))
        out += chunk_size(r, n) + pick(r, [b"\r\n"], ENDS, 30) + data + pick(r, [b"\r\n"], ENDS + [b"", b"XX"], 30)
    if r.randrange(12):
        out += pick(r, [b"0", b"0", b"00"], [b"0;a", b"0 ", b"", b"-0", b"0x0"], 20) + pick(r, [b"\r\n"], ENDS, 30)
        for _ in range(r.choice((0, 0, 0, 0, 1, 2))):
            out += pick(r, TRAILERS, ODD_TRAILERS, 4)
        out += pick(r, [b"\r\n"], ENDS + [b""], 30)
    return out


def http_request(r):
    line = pick(r, METHODS, ODD_METHODS) + pick(r, [b" "], [b"  ", b"\t", b"", b" \t"], 40)
    line += pick(r, TARGETS, ODD_TARGETS) + pick(r, [b" "], [b"  ", b"\t", b"", b"\x0b"], 40)
    head = [line + pick(r, VERSIONS, ODD_VERSIONS, 20), pick(r, HOSTS, ODD_HOSTS)]
    head += [pick(r, FIELDS, ODD_FIELDS, 10) for _ in range(r.choice((0, 0, 1, 1, 2, 4)))]
    body = b""
    kind = r.randrange(8)
    if kind in (0, 1):
        n = r.choice((0, 1, 3, 10, 30))
        body = bytes(r.choice(b"abc\r\n0GET /") for _ in range(n))
        shown = n if r.randrange(8) else r.choice((0, n + 1, n + 7, max(0, n - 1)))
        head.append(b"Content-Length: " + formatted(pick(r, [b"%d"], ODD_LENGTHS, 6), shown))
        if r.randrange(16) == 0:
            head.append(r.choice((b"Content-Length: %d", b"content-length:1%d", b"Content-Length: 0%d")) % shown)
    elif kind in (2, 3):
        body = chunked(r)
        head.append(b"Transfer-Encoding: " + pick(r, [b"chunked"], ODD_CODINGS, 6))
        if r.randrange(16) == 0:
            head.append(r.choice((b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity",
                                  b"Content-Length: 0")))
    rest = head[1:]
    r.shuffle(rest)
    out = b"".join(line + pick(r, [b"\r\n"], ENDS, 60) for line in head[:1] + [x for x in rest if x])
    return out + pick(r, [b"\r\n"], ENDS + [b""], 40) + body


def http(r):
    out = pick(r, [b""], [b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\r"], 20)
    out += b"".join(http_request(r) for _ in range(r.choice((1, 1, 1, 2, 2, 3))))
    return spoil(r, out) if r.randrange(3) == 0 else out


# ---- JSON ------------------------------------------------------------------------------------------------------------

NUMBERS = ["0", "-0", "1", "10", "-12", "1.5", "-0.25", "1e5", "1E-5", "1.5e+3", "9223372036854775807",
           "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "123456789012345678901234567890",
           "1e400", "0.1", "0e0"]
ODD_NUMBERS = ["01", "-", "+1", ".5", "5.", "1e", "1e+", "0x1", "NaN", "Infinity", "-Infinity", "1_0", "--1", "1.5.5",
               "-01", "1 2", "1e5.5", "00", "-.5", "1E", "0.e1"]
PIECES = ["a", "\u00e9", "\u20ac", "\U0001f600", " ", "/", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\u0000",
          "\\ud83d\\ude00", "\\uD834\\udd1e", "\x7f", "'", "{", "]", ":", ","]
ODD_PIECES = ["\\ud800", "\\udc00", "\\x41", "\\", "\n", "\t", "\0", "\x1f", "\\u12", "\\u12g4", "\\'", "\"", "\\U0041",
              "\\ud800\\u0041", "\\udc00\\ud800", "\\ud800\\ud800\\udc00"]
SPACES = ["", "", "", "", " ", "\n", "\r\n", "\t", "  "]
ODD_SPACES = ["\x0b", "\x0c", "\u00a0", "\ufeff", "//x\n", "/**/", "\0"]


def json_string(r):
    text = "".join(pick(r, PIECES, ODD_PIECES, 30) for _ in range(r.choice((0, 1, 1, 2, 3, 8, 20))))
    return '"' + text + pick(r, ['"'], ["", "'"], 80)


def json_value(r, depth):
    kind = r.randrange(10)
    if depth > 4 or kind < 3:
        return pick(r, ["true", "false", "null"], ["True", "tru", "nul", "undefined", ""], 40)
    if kind < 5:
        return pick(r, NUMBERS, ODD_NUMBERS, 20)
    if kind < 7:
        return json_string(r)
    items = []
    for _ in range(r.choice((0, 1, 1, 2, 3))):
        item = json_space(r) + json_value(r, depth + 1) + json_space(r)
        if kind > 7:
            key = pick(r, ['"a"', '"b"', '"to"', '""', json_string(r)], ["a", "1", "'a'", "null", "[]"], 60)
            item = json_space(r) + key + json_space(r) + pick(r, [":"], ["=", "::", "", ","], 60) + item
        items.append(item)
    opened, closed = ("{", "}") if kind > 7 else ("[", "]")
    inner = pick(r, [","], [",,", ";", ""], 60).join(items) + pick(r, [""], [","], 60)
    return opened + inner + (json_space(r) if not items else "") + pick(r, [closed], ["", "]", "}", closed * 2], 60)


def json_space(r):
    return pick(r, SPACES, ODD_SPACES, 200)


def json_text(r):
    if r.randrange(40) == 0:  # around the limit of depth
        n = r.choice((1, 62, 63, 64, 65, 66, 200))
        one = r.choice((("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")))
        return (one[0] * n + r.choice(("1", "[]", "")) + one[1] * n).encode()
    text = (json_space(r) + json_value(r, 0) + json_space(r)).encode("utf-8", "surrogatepass")
    if r.randrange(60) == 0:
        text += r.choice((b"x", b"{}", b",", b"\0", b"1"))
    return spoil(r, text) if r.randrange(4) == 0 else text


def json_round_trip(r):
    """The text that Python's json writes for any value: our scanner must read it."""
    def value(depth):
        kind = r.randrange(9 if depth < 4 else 6)
        if kind < 2:
            return r.choice((True, False, None))
        if kind == 2:
            return r.randrange(-10 ** r.randrange(1, 40), 10 ** r.randrange(1, 40))
        if kind == 3:
            return r.uniform(-1, 1) * 10 ** r.randrange(-300, 300)
        if kind < 6:
            return "".join(chr(r.choice((r.randrange(128), r.randrange(0x800), r.randrange(0xd800),
                                         r.randrange(0xe000, 0x110000))))
                           for _ in range(r.randrange(6)))
        if kind == 6:
            return [value(depth + 1) for _ in range(r.randrange(4))]
        return {value(9) if r.randrange(2) else str(i): value(depth + 1) for i in range(r.randrange(4))}
    return json.dumps(value(0), ensure_ascii=bool(r.randrange(2)), indent=r.choice((None, None, 1))).encode()


# ---- UTF-8 -----------------------------------------------------------------------------------------------------------

EDGES = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
         0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xfc, 0xfe, 0xff]


def utf8(r):
    kind = r.randrange(4)
    if kind == 0:
        return bytes(r.choice(EDGES) for _ in range(r.randrange(1, 8)))
    text = "".join(chr(r.choice((0x41, r.randrange(0x80), r.randrange(0x80, 0x800), r.randrange(0x800, 0xd800),
                                 r.randrange(0xe000, 0x10000),
                                 r.randrange(0x10000, 0x110000), 0x10ffff, 0xffff, 0xd7ff, 0xe000)))
                   for _ in range(r.choice((1, 2, 5, 40)))).encode()
    text = b"a" * r.choice((0, 0, 7, 15, 16, 31, 32, 33)) + text
    if kind == 1:
        return text
    if kind == 2:
        return text[:r.randrange(len(text) + 1)]
    return spoil(r, text)


# ---- WebSocket -------------------------------------------------------------------------------------------------------


def frame(r, first, payload, key=b"", length=None, masked=0x80):
    n = len(payload) if length is None else length
    form = 0 if n < 126 else 1 if n < 65536 else 2
    if r.randrange(60) == 0:
        form = r.randrange(3)
    if form == 0:
        head = bytes((first, masked | (n & 0x7f)))
    elif form == 1:
        head = bytes((first, masked | 126)) + struct.pack("!H", n & 0xffff)
    else:
        head = bytes((first, masked | 127)) + struct.pack("!Q", n)
    key = bytes(r.randrange(256) for _ in range(4)) if masked else b""
    return head + key + (mask(payload, key) if masked else payload)


def mask(data, key):
    whole = (key * (len(data) // 4 + 1))[:len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


def ws_text(r):
    data = utf8(r) if r.randrange(6) == 0 else "".join(r.choice("ab\u00e9\u20ac\U0001f600")
                                                       for _ in range(r.choice((0, 1, 5, 20)))).encode()
    return data * (r.choice((7, 40)) if r.randrange(12) == 0 else 1)


def close_body(r):
    code = r.choice((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999, 4000) * 3
                    + (0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 2000, 2999, 5000, 65535))
    return r.choice((b"", struct.pack("!H", code), struct.pack("!H", code) + ws_text(r)[:123], b"\x03"))


ODD_FRAME_LENGTHS = [1 << 63, (1 << 64) - 1, (1 << 63) - 1, 1 << 32, 1 << 31, 126, 65535, 65536, 1 << 20, (1 << 20) + 1]


def ws(r):
    out = b""
    for _ in range(r.choice((1, 1, 2, 3, 5))):
        rsv = r.choice((0x40, 0x20, 0x10, 0x70)) if r.randrange(60) == 0 else 0
        masked = 0 if r.randrange(60) == 0 else 0x80
        kind = r.randrange(12)
        if kind < 4:
            data = ws_text(r)
            out += frame(r, 0x80 | rsv | r.choice((1, 1, 1, 2)), data, masked=masked)
        elif kind < 7:
            data, opcode = ws_text(r), r.choice((1, 1, 2))
            parts = r.choice((2, 2, 3, 5))
            cuts = sorted(r.randrange(len(data) + 1) for _ in range(parts - 1))
            for i, (a, b) in enumerate(zip([0, *cuts], [*cuts, len(data)])):
                last = i == parts - 1 and r.randrange(20) > 0
                out += frame(r, (0x80 if last else 0) | rsv | (opcode if i == 0 else 0), data[a:b], masked=masked)
                if r.randrange(4) == 0:
                    out += frame(r, 0x80 | r.choice((9, 10)), b"x" * r.choice((0, 4, 125)))
        elif kind < 9:
            data = b"p" * r.choice((0, 1, 124, 125) * 4 + (126, 200))
            out += frame(r, (0x80 if r.randrange(20) else 0) | rsv | r.choice((9, 10)), data, masked=masked)
        elif kind == 9:
            out += frame(r, (0x80 if r.randrange(20) else 0) | rsv | 8, close_body(r), masked=masked)
        elif kind == 10:
            out += frame(r, 0x80 | r.randrange(16), ws_text(r)[:100], masked=masked)
        else:
            out += frame(r, 0x82, b"b" * r.choice((0, 125, 126, 127, 300) * 8 + (65535, 65536)), masked=masked)
    if r.randrange(8) == 0:
        out += bytes((0x82, 0xff)) + struct.pack("!Q", r.choice(ODD_FRAME_LENGTHS))
        out += b"\0\0\0\0" if r.randrange(2) else b""
    return spoil(r, out) if r.randrange(5) == 0 else out
