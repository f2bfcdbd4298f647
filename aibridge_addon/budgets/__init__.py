"""Budgets: ceilings on money or tokens per window of time. Pure.

Before a request goes up, an estimate of its charge is held in every budget that matches; at its end
the hold is settled: replaced by the real charge, exactly once. A store executes both
(`budgets.book`); all rules are here.
"""
