"""End to end: a real `mitmdump` process with the addon, a stand-in provider, real clients.

proxy.py     the process: start, stop, kill, restart, its log, its records
records.py   what it wrote, as dicts
clients.py   the official SDKs and bare clients, by every way to the provider
central.py   asking where central tools are offered, and their servers
wire_formats.py  reads requests and responses of each wire format, and checks that they are legal
conftest.py  fixtures
"""
