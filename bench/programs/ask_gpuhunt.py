"""Ask gpuhunt's own catalogue code: ``ask_gpuhunt.py FOLDER cpu|gpu [SECONDS]``, with its CSV files in FOLDER.

Cold, the files are read on every query, as its local directory is. With SECONDS they are held in memory by its own loader,
and the median time of a query is printed.
"""

import logging
import os
import statistics
import sys
import time

folder, question, *seconds = sys.argv[1:]
if seconds:
    os.environ["GPUHUNT_CATALOG_URL"] = f"file://{os.path.abspath(folder)}/gpuhunt-zip"
else:
    os.environ["GPUHUNT_CATALOG_DIR"] = f"{folder}/gpuhunt"
logging.disable(logging.CRITICAL)

import gpuhunt  # noqa: E402

catalog = gpuhunt.Catalog(auto_reload=False)
if seconds:
    catalog.load()
clouds = ["aws", "gcp", "azure"]


def ask() -> list[tuple[float, str, str]]:
    if question == "cpu":
        found = catalog.query(
            provider=clouds, min_cpu=16, max_cpu=32, min_memory=64, max_memory=256, spot=True, max_price=20 / 6
        )
    else:
        found = catalog.query(provider=clouds, gpu_name="A100", min_gpu_count=1, spot=True)
    return [(item.price, item.provider, item.instance_name) for item in found[:10]]


if seconds:
    ask()
    taken: list[float] = []
    end = time.perf_counter() + float(seconds[0])
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - start)
    print(statistics.median(taken))
else:
    for price, *_ in ask():
        print(f"{price:.4f}")
