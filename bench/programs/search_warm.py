"""Ask an open catalogue again and again: ``search_warm.py FOLDER cpu|gpu SECONDS``; prints the median time of a query."""

import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tallygate.money import Money
from tallygate.pricing.market import budget_ceiling
from tallygate.pricing.offers import PurchaseOption, ResourceRequest
from tallygate.store.catalog import open_catalog

SPOT = frozenset({PurchaseOption.SPOT})
REQUESTS = {
    "cpu": ResourceRequest(
        vcpus_min=16,
        vcpus_max=32,
        memory_gib_min=Decimal(64),
        memory_gib_max=Decimal(256),
        purchase_options=SPOT,
        hourly_price_max=budget_ceiling(Money.of(20), Decimal(6)),
    ),
    "gpu": ResourceRequest(gpus_min=1, gpu_model="A100", purchase_options=SPOT),
}

if __name__ == "__main__":
    folder, question, seconds = sys.argv[1:]
    catalog = open_catalog(folder)
    request = REQUESTS[question]
    taken = []
    end = time.perf_counter() + float(seconds)
    catalog.cheapest(request, limit=10)
    while time.perf_counter() < end:
        start = time.perf_counter()
        catalog.cheapest(request, limit=10)
        taken.append(time.perf_counter() - start)
    print(statistics.median(taken))
