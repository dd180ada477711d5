# SPDX-License-Identifier: Apache-2.0
"""Reads cases.txt: every line with its macros filled in, lines with <each ...> as many cases. Knows no socket.

The bytes of a case carry its number in two places that an answer or a delivery shows: "said-NR" in the message that may
be delivered, "stolen-NR" in the request that must never be served.
"""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
SEND = "/api/v1/websocket/send"
RECEIVER = "victim"
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def message(kind, number):
    return f'{{"to":"{RECEIVER}","content":"{kind}-{number:04d}"}}'


def macros(number):
    said, stolen = message("said", number), message("stolen", number)
    ws = ("GET {} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          f"Sec-WebSocket-Key: {KEY}\r\n")
    post = f"POST {SEND} HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\n"
    request = f"{post}Content-Length: {len(stolen)}\r\n\r\n{stolen}"
    return {"G": "GET /livez HTTP/1.1\r\nHost: h\r\n", "P": post, "B": said, "BL": str(len(said)),
            "BX": f"{len(said):x}",
            "S": request, "SL": str(len(request)), "SX": f"{len(request):x}", "NR": f"{number:04d}",
            "C": f"{len(said):x}\r\n{said}\r\n0\r\n\r\n", "WS": ws.format("/ws"), "WS2": ws.format("/ws?user_id=u")}


def unescape(text):
    names = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
    return re.sub(r"\\(?:x([0-9a-f]{2})|([rnt0\\]))", lambda m: chr(int(m[1], 16)) if m[1] else names[m[2]], text)


def fill(text, known):
    """The bytes of a text: macros filled in, escapes read; what a macro brings is not read for escapes again."""
    def one(m):
        return unescape(m[1]) * int(m[2]) if m[2] else known[m[0][1:-1]]
    parts = re.split(r"(<[^<>]+\*\d+>|<\w+>)", text)
    return "".join(one(re.fullmatch(r"<(.+)\*(\d+)>|<\w+>", p)) if i % 2 else unescape(p)
                   for i, p in enumerate(parts)).encode("latin-1")


class Case:
    """name, said (where the rule stands), data (bytes), statuses, sent (deliveries), end: close, open or none."""

    def __init__(self, number, name, answers, said, text):
        self.number, self.name, self.said = number, name, said
        self.data = fill(text, macros(number))
        words = answers.replace(",", " ").split()
        self.end = words.pop() if words[-1] in ("open", "close", "none") else "close"
        self.sent = words.count("sent")
        self.statuses = [int(w) for w in words if w != "sent"]
        if self.end == "close" and words == [answers] and self.statuses[0] < 400:
            raise ValueError(f"{name}: what becomes of the connection?")

    def __repr__(self):
        return f"{self.name} ({self.said})"


def items(text):
    """The items of <each ...>: pairs of the name that is shown and the text, still escaped."""
    for item in text.split(" "):
        if re.fullmatch(r"[0-9a-f]{2}(-[0-9a-f]{2})?", item):
            for b in range(int(item[:2], 16), int(item[-2:], 16) + 1):
                yield f"{b:02x}", f"\\x{b:02x}"
        else:
            item = item[1:] if re.fullmatch(r"=..", item) else item
            yield item, item


def each(name, text):
    """The (name, text) of a line, or those of every item of its <each ...>."""
    m = re.search(r"<each ([^<>]+)>", text)
    if not m:
        return [(name, text)]
    return [(f"{name}: {shown}", text[:m.start()] + item + text[m.end():]) for shown, item in items(m[1])]


def expand(name, text, known):
    return [(full, fill(one, known)) for full, one in each(name, text)]


def read():
    cases, names = [], set()
    with open(os.path.join(HERE, "cases.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            name, answers, said, text = line.split(" | ", 3)
            for full, one in each(name, text):
                if full in names:
                    raise ValueError(f"two cases are called {full}")
                names.add(full)
                cases.append(Case(len(cases) + 1, full, answers, said, one))
    return cases
