# SPDX-License-Identifier: Apache-2.0
"""Five corpora for the compressed groups: made here, always the same, and as different as real messages.

    json    text of many small objects that repeat their keys
    bitmap  a grey picture: smooth surfaces and noise
    prose   words as a language has them, few of them often
    html    prose between tags
    pdf     readable objects between streams that are compressed already
"""
import functools
import json
import random
import zlib

VOWELS = ["a", "e", "i", "o", "u", "ä", "ö", "ü", "ei", "au"]
CONSONANTS = list("bdfghklmnprstvwz") + ["sch", "st", "ch"]


@functools.lru_cache(maxsize=1)
def vocabulary():
    rng = random.Random("words")
    return ["".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4)))
            + rng.choice(["", "n", "t", "en", "er"]) for _ in range(3000)]


def words(rng, n):
    """@n words, drawn so that the first of the vocabulary are the frequent ones."""
    v = vocabulary()
    return [v[int(3000 * rng.random() ** 3)] for _ in range(n)]


def sentences(rng, n):
    out, w, at = [], words(rng, n), 0
    while at < n:
        k = rng.randint(4, 14)
        out.append(" ".join(w[at:at + k]).capitalize() + rng.choice([".", ".", ".", "!", "?", ":"]))
        at += k
    return out


def make_json(rng):
    rows = [{"id": i, "guid": f"{rng.getrandbits(128):032x}", "active": rng.random() < 0.5,
             "balance": round(rng.random() * 4000, 2), "name": " ".join(words(rng, 2)).title(),
             "about": " ".join(sentences(rng, 40)), "tags": words(rng, 6), "latitude": rng.uniform(-90, 90)}
            for i in range(300)]
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def make_bitmap(rng):
    rows = []
    for y in range(512):
        noise = rng.randbytes(512)
        rows.append(bytes((128 + ((x - 256) * (y - 200) >> 9) + (x * x >> 12) + (noise[x] & 7)) & 0xff
                          for x in range(512)))
    return b"BM" + rng.randbytes(52) + b"".join(rows)


def make_prose(rng):
    lines = sentences(rng, 30000)
    return "\r\n".join(" ".join(lines[i:i + 2]) for i in range(0, len(lines), 2)).encode()


def make_html(rng):
    body = [f'<div class="row r{i % 7}"><h2 id="h{i}">{a}</h2><p class="text">{b} {c}</p></div>'
            for i, (a, b, c) in enumerate(zip(*[iter(sentences(rng, 24000))] * 3))]
    return ("<!DOCTYPE html><html><head><meta charset=utf-8><title>Bücher</title></head><body>"
            + "\n".join(body) + "</body></html>").encode()


def make_pdf(rng):
    out = [b"%PDF-1.4\n"]
    for i in range(60):
        stream = zlib.compress(" ".join(sentences(rng, 1200)).encode() + rng.randbytes(400), 9)
        out.append(b"%d 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream\nendobj\n"
                   % (i, len(stream), stream))
    return b"".join(out)


MAKERS = {"json": (make_json, True), "bitmap": (make_bitmap, False), "prose": (make_prose, False),
          "html": (make_html, True), "pdf": (make_pdf, False)}


@functools.lru_cache(maxsize=None)
def corpus(name):
    """(data, is it text): a str for text, so that it is cut between characters; bytes for the others."""
    make, text = MAKERS[name]
    data = make(random.Random(name))
    return (data.decode() if text else data), text


def pieces(name, size, count):
    """@count payloads of @size characters or bytes, one behind the other, round and round."""
    data, text = corpus(name)
    data = data * (size // len(data) + 2)
    period = len(corpus(name)[0])
    at = 0
    for _ in range(count):
        piece = data[at:at + size]
        yield piece.encode() if text else piece
        at = (at + size) % period
