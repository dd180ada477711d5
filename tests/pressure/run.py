#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the scenes of this directory: crowds of thousands against a gateway on loopback. Not part of `make test`.

usage: run.py PROGRAM [NAME ...]     NAME is a part of a scene's name

A scene is a program NAME.py beside this one (those with _ in front are not); it gets the path of the gateway, starts and
stops its own, prints figures, and ends with "N passed, N failed". The last line here is the sum. TEST_BUILD is the build
directory, with the program `crowd` in it.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
SCENE_SECONDS = 300


def run(scene, program):
    """(passed, failed) of a scene; a scene without counts has failed."""
    print(f"\n== {scene.stem}", flush=True)
    process = subprocess.Popen(["/usr/bin/python3", str(scene), program], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    watchdog = threading.Timer(SCENE_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        print(line, end="", flush=True)
    status = process.wait()
    watchdog.cancel()
    counts = COUNTS.findall("".join(lines))
    if not counts or (status != 0) != (counts[-1][1] != "0"):
        print(f"{scene.stem}: exit status {status}, which contradicts its counts", flush=True)
        return 0, 1
    return tuple(map(int, counts[-1]))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    os.environ.setdefault("TEST_BUILD", os.path.dirname(program))
    os.environ["TEST_BUILD"] = os.path.abspath(os.environ["TEST_BUILD"])
    scenes = [f for f in sorted(HERE.glob("*.py")) if f.name != "run.py" and not f.name.startswith("_")]
    scenes = [f for f in scenes if len(sys.argv) == 2 or any(n in f.stem for n in sys.argv[2:])]
    passed = failed = 0
    for scene in scenes:
        p, f = run(scene, program)
        passed, failed = passed + p, failed + f
    print(f"\n{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
