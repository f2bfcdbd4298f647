"""Prices of model calls, from the price data of genai-prices and from `[[prices]]`. Pure.

`pricing.price` returns a price, or the reason for its absence: it never guesses, and never returns
zero for something unknown. Money is in integer nano-dollars, rounded half up once per call.
"""
