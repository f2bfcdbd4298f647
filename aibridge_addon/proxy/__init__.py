"""What touches mitmproxy's way of carrying messages: tunnels, streams, the tap on a body."""
