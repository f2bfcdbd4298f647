"""Reports whose SQL or connection is SQLite's alone; all others run the shared SQL."""
