#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our codecs against those of other projects, over generated inputs: HTTP against llhttp and h11, JSON and UTF-8
against Python's, WebSocket frames against wsproto. A difference that no rule of compare.py explains is a failure.

usage: run.py PROGRAM [--minutes N] [--seed S] [TEXT...]

PROGRAM lies in the build directory. Without --minutes: a fixed seed and a fixed number of inputs; with it: N minutes in
all, with a seed of its own, which is printed. TEXT: only pairs and tests whose name contains one.
Prints "N passed, N failed"; each pair of codecs counts as one.
"""
import argparse
import collections
import itertools
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import compare  # noqa: E402

BATCH = 1000
SEED = 20261123


class Tally:
    """The results of one pair."""

    def __init__(self):
        self.inputs, self.rules, self.stories = 0, collections.Counter(), []

    def take(self, pair, inputs):
        _, ours, theirs, judge, _ = pair
        for data, a, b in zip(inputs, ours(inputs), theirs(inputs), strict=True):
            self.inputs += 1
            rule, story = judge(data, a, b)
            if story:
                self.stories.append(f"{story}\n  input  {data[:600]!r}\n"
                                    f"  ours   {str(a)[:600]}\n  theirs {str(b)[:600]}")
            elif rule:
                self.rules[rule] += 1

    def report(self, name, seconds, rules):
        explained = sum(self.rules.values())
        print(f"{'FAIL' if self.stories else 'ok  '}  {name}: {self.inputs} inputs, {explained} explained differences, "
              f"{len(self.stories)} others ({seconds:.1f} s)", flush=True)
        for rule, n in self.rules.most_common() if rules else ():
            print(f"      {n:8} {rule}")
        for story in self.stories[:5]:
            print("      " + story.replace("\n", "\n      "), flush=True)


def batches(generator, r):
    while True:
        yield [generator(r) for _ in range(BATCH)]


def run_pair(name, pair, seed, inputs=None, seconds=None):
    """Fixed inputs for a fixed number, or as many as the seconds allow."""
    tally, started = Tally(), time.monotonic()
    for batch in batches(pair[0], random.Random(f"{name} {seed}")):
        tally.take(pair, batch)
        if seconds is None and tally.inputs >= inputs or seconds is not None and time.monotonic() - started > seconds:
            break
        if len(tally.stories) > 100:
            break
    tally.report(name, time.monotonic() - started, rules=seconds is not None)
    return tally


def all_short_utf8(pair):
    """Every text of one and two bytes, and every character there is."""
    tally, started = Tally(), time.monotonic()
    tally.take(pair, [bytes(t) for n in (1, 2) for t in itertools.product(range(256), repeat=n)])
    tally.take(pair, [chr(c).encode("utf-8", "surrogatepass") for c in range(0x80, 0x110000, 7)])
    tally.report("utf8-python, all short ones", time.monotonic() - started, rules=False)
    return tally


REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
PLANTED = [  # the judge must find the difference if we read the first input and they read the second
    ("http-llhttp", REQUEST, REQUEST.replace(b": 5", b": 3")),
    ("http-llhttp", REQUEST, REQUEST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    ("http-llhttp", REQUEST, REQUEST.replace(b"POST /", b"POST /x")),
    ("http-llhttp", REQUEST + REQUEST, REQUEST),
    ("http-llhttp", REQUEST, b"GET / HTTP/1.1\r\n\r\n"),
    ("http-h11", REQUEST, REQUEST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    ("http-h11", REQUEST, REQUEST.replace(b"Host: h", b"Host: i")),
    ("json-python", b'{"a":1}', b'{"a":2}'),
    ("json-python", b"[1]", b"[1"),
    ("json-python", b"[1", b"[1]"),
    ("json-python", b'"\\ud800"', b'"\xef\xbf\xbd"'),
    ("utf8-python", b"\xc3\xa9", b"\xc3"),
    ("ws-wsproto", b"\x81\x81\0\0\0\0a", b"\x82\x81\0\0\0\0a"),
    ("ws-wsproto", b"\x81\x81\0\0\0\0a", b"\x81\x01a"),
]


def differences_are_noticed(pairs):
    missed = []
    for name, a, b in PLANTED:
        _, ours, theirs, judge, _ = pairs[name]
        if judge(a, ours([a])[0], theirs([b])[0])[1] is None:
            missed.append(f"{name}: {a!r} read as {b!r}")
    print(f"{'FAIL' if missed else 'ok  '}  a difference that is planted is noticed: {len(PLANTED)} pairs of inputs")
    for m in missed:
        print("      " + m)
    return not missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("texts", nargs="*")
    args = parser.parse_intermixed_args()
    pairs = compare.pairs(os.path.dirname(os.path.abspath(args.program)))
    chosen = {n: p for n, p in pairs.items() if not args.texts or any(t in n for t in args.texts)}
    seed = args.seed if args.seed is not None else SEED if args.minutes is None else time.time_ns() % 10 ** 9
    passed = failed = total = 0
    if args.minutes is not None:
        print(f"seed {seed}")
    for name, pair in chosen.items():
        share = args.minutes * 60 / len(chosen) if args.minutes is not None else None
        tally = run_pair(name, pair, seed, pair[4] * BATCH, share)
        total += tally.inputs
        passed, failed = passed + (not tally.stories), failed + bool(tally.stories)
    if not args.texts:
        tally = all_short_utf8(pairs["utf8-python"])
        total += tally.inputs
        for good in (not tally.stories, differences_are_noticed(pairs)):
            passed, failed = passed + good, failed + (not good)
    print(f"{total} inputs compared")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
