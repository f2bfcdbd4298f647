"""One client request from its head to its end: intake, relay, inner loop, WebSocket."""
