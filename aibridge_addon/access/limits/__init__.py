"""Rate and concurrency limits: rules of the config file, and the counters that enforce them. Pure.

A refused request consumes nothing: all counters are checked first, then all are debited.
"""
