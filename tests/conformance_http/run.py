#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 to the letter: requests that others have been fooled by, against the server alone and behind real proxies.

usage: run.py PROGRAM [TEXT...]    only tests whose name contains a TEXT
The cases are lines of cases.txt. CUTS=1 tries every case cut at every byte (otherwise every fourth cut).
Prints "N passed, N failed"; a case counts as one, in each way that it is run.
"""
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
sys.dont_write_bytecode = True
if len(sys.argv) > 1:
    os.environ["E2E_WSC"] = os.path.abspath(sys.argv[1])

import cases  # noqa: E402
import direct  # noqa: E402
from lib import Server  # noqa: E402

CASES = cases.read()
CONFIG = {"websocket_origins": ["https://good.example"]}


def stories_of(cut):
    with Server(CONFIG) as s:
        return len(CASES), direct.run(s, direct.Inbox(s), CASES, cut)


def test_every_request_gets_exactly_its_answers_and_nothing_hidden_in_it_is_served():
    return stories_of(direct.whole)


def test_every_request_means_the_same_when_it_comes_in_single_bytes():
    return stories_of(direct.single_bytes)


def test_every_request_means_the_same_when_it_is_cut_in_two():
    parts = direct.parts_of_run()
    with Server(CONFIG) as s:
        return direct.run_cuts(s, direct.Inbox(s), CASES, parts // 2, parts)


def discover():
    return {n: f for n, f in globals().items() if n.startswith("test_") and callable(f)}


def main():
    passed = failed = 0
    for name, test in discover().items():
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
