"""Exchanges with providers as mitmweb, mitmproxy's console and mitmdump show them."""
