# SPDX-License-Identifier: Apache-2.0
# The Python client of the quick reference. It needs python3-websockets. Connect bob first, else the answer is an error
# frame "bob is offline".
import asyncio
import websockets
import json
from datetime import datetime

async def websocket_client():
    uri = "ws://localhost:8080/ws?user_id=alice"
    async with websockets.connect(uri) as ws:
        # send a message
        msg = {
            "to": "bob",
            "type": "text",
            "content": "Hello Bob!",
            "from": "alice",
            "create_at": datetime.now().isoformat()
        }
        await ws.send(json.dumps(msg))

        # receive messages
        async for message in ws:
            data = json.loads(message)
            print(f"Message from {data['from']}: {data['content']}")

asyncio.run(websocket_client())
