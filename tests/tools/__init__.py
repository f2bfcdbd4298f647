"""Tests of central tools: names, catalogue, servers, and the inner loop."""
