#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""valgrind looks that a server leaves nothing allocated when it is told to stop with connections of every kind open.

usage: run.py PROGRAM      prints "N passed, N failed"
"""
import asyncio
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "soak"))
from soak import Http, Server, sse, ws  # noqa: E402

VALGRIND = ["valgrind", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all",
            "--errors-for-leak-kinds=definite,indirect,possible"]
KINDS = {"ws": ws, "sse": sse}


async def connections(port):
    """Opens streams and sockets that stay open, half a request and half a frame, and sends to all of them."""
    iterators = [KINDS[kind](port, f"{kind}{i}") for kind in KINDS for i in range(5)]
    http = Http(port)
    readers = [asyncio.create_task(drain(it)) for it in iterators]
    while (await http.call("GET", "/wsc/stats"))[1]["data"]["active_connections"] < len(iterators):
        await asyncio.sleep(0.1)
    halves = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    halves[0][1].write(b"GET /ws?user_id=half HTTP/1.1\r\nHost: local")
    halves[1][1].write(b"POST /api/v1/websocket/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    for n in range(20):
        await http.call("POST", "/api/v1/websocket/broadcast", body={"content": "x" * 50 * n})
        await http.call("POST", "/api/v1/websocket/send", "ann", {"to": "ws1", "content": "hello"})
        await http.call("POST", "/api/v1/websocket/send", "ann", {"to": "nobody", "content": "hello"})
    return readers, halves


async def drain(messages):
    try:
        async for _ in messages:
            pass
    except Exception:  # however the server ends it
        pass


async def scenario(server):
    readers, halves = await connections(server.port)
    loop = asyncio.get_running_loop()
    status = await loop.run_in_executor(None, server.stop, 60)
    for task in readers:
        task.cancel()
    for _, writer in halves:
        writer.close()
    return status


def main():
    server = Server(sys.argv[1], VALGRIND, settings=["workers=2"])
    server.wait_ready(60)
    status = asyncio.run(asyncio.wait_for(scenario(server), 120))
    lost = re.findall(r"(?:definitely|indirectly|possibly) lost: ([\d,]+) bytes", server.output())
    ok = status == 0 and not any(n != "0" for n in lost)
    if not ok:
        print(f"exit status {status}")
        print(server.output()[-8000:])
    print(f"{int(ok)} passed, {int(not ok)} failed")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
