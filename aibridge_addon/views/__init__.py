"""Shows exchanges with providers in mitmproxy's own interfaces: mitmweb, its console and mitmdump."""
