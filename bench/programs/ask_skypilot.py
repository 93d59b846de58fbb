"""Ask SkyPilot's own catalogue functions: ``ask_skypilot.py cpu|gpu [SECONDS]``, with its CSV files below HOME.

They answer less than ours: for processors the cheapest type of each cloud. With SECONDS the median time of a query is printed.
"""

import statistics
import sys
import time

from sky import catalog

question, *seconds = sys.argv[1:]
clouds = ["aws", "gcp", "azure"]


def ask() -> list[object]:
    if question == "cpu":
        return [
            catalog.get_default_instance_type(
                cpus="16+", memory="64+", disk_tier=None, use_spot=True, max_hourly_cost=20 / 6, clouds=cloud
            )
            for cloud in clouds
        ]
    found: list[tuple[object, ...]] = []
    for cloud in clouds:
        listed = catalog.list_accelerators(gpus_only=False, name_filter="A100", clouds=[cloud], all_regions=True)
        items = [item for those in listed.values() for item in those if item.spot_price == item.spot_price]
        found += [(item.spot_price, cloud, item.region, item.instance_type) for item in items]
    return [*sorted(found)[:10]]


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
    print(*ask(), sep="\n")
