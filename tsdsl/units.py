"""Suffixes of numbers, as specs, options and outputs write them."""

#: Factors of amounts: 1.4G.
AMOUNTS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
#: Nanoseconds per unit of time: 8ms.
TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
