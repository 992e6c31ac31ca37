"""What a number's suffix multiplies it by, wherever one is read or written."""

#: Of amounts: 1.4G.
AMOUNTS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
#: Of times, in nanoseconds: 8ms.
TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
