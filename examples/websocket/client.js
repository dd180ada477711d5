// SPDX-License-Identifier: Apache-2.0
// The JavaScript client of the quick reference as one script. It sends inside onopen, because a socket that is not open
// cannot send. For a browser (client.html), or any runtime with a WebSocket.
// connect
const ws = new WebSocket('ws://localhost:8080/ws?user_id=alice');

ws.onopen = () => {
    console.log('Connected');

    // send a message
    ws.send(JSON.stringify({
        to: 'bob',
        type: 'text',
        content: 'Hello Bob!',
        from: 'alice',
        create_at: new Date().toISOString()
    }));
};

// receive messages
ws.onmessage = (event) => {
    const msg = JSON.parse(event.data);
    console.log('Message from', msg.from, ':', msg.content);
};

ws.onclose = () => console.log('Disconnected');
