"""Reports whose SQL differs from that of SQLite; all others run the shared SQL."""
