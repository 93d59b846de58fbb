"""A pretend world of three clouds with a money meter: virtual time, prices, machines, faults and late bills.

    World(seed) --+-- clock, entropy        time that stands until it is moved; randomness by name
                  +-- market                price paths, pools that empty, interruptions
                  +-- machines, truth       what runs, and what it has truly cost, to the nano, at any instant
                  '-- faults                each switchable by name
    SimProvider(world, dialect)             the ordinary ``Provider``, in the manner of aws, gcp or azure
    SimBill(world, dialect)                 the ordinary ``BillingSource``: late, split, restated, and in the end the truth

Everything follows from the seed, to the byte: no wall clock, no hash order, no float.
"""

from __future__ import annotations
