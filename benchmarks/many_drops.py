"""What many drops cost: 100 that arrive together, and one more where 2,000 are on record.

    python -m benchmarks.many_drops [--drops 100] [--on-record 2000] [--out benchmarks/results/many_drops.json]

The first part runs `dagster dev` as shipped (the sensors look each 5 seconds) and copies small drops
into its drops folder. Measured are the time from the last copy to the last prediction, the runs
by what they made, the size of the instance, the answer of what the UI asks for its partitions
page, and the seconds of each drop in its runs, the last 20 drops against the first 20.

The second part writes 2,000 finished drops into an instance through Dagster's interface, and
their deliveries into the drops folder. Measured are the ticks of both sensors, as the daemon
records them, and the partitions page.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from virnucpro_assets.defs.partitions import ASSETS, DROPS, Partitions
from virnucpro_assets.defs.steps import DROP
from virnucpro_assets.intake.registration import register_delivery
from virnucpro_assets.intake.scan import Observations, scan
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.web_server import WebServer, running_web_server

READS = 3
AUTOMATION = {
    "VIRNUCPRO_AUTOMATION": "1",
    "VIRNUCPRO_SCAN_INTERVAL_SECONDS": "5",
    "VIRNUCPRO_SETTLE_SECONDS": "2",
}
PARTITIONS_PAGE = """
query ($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    partitionKeysByDimension { name partitionKeys }
    assetPartitionStatuses {
      ... on DefaultPartitionStatuses { materializedPartitions failedPartitions materializingPartitions }
      ... on MultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey secondaryDim {
        ... on DefaultPartitionStatuses { materializedPartitions failedPartitions }
      } } }
    }
  } }
}"""


def arriving_together(drops: int) -> dict[str, Any]:
    """The figures of `drops` small drops that are copied into a running deployment at once."""
    with _deployment() as deployment, running_web_server(deployment, **AUTOMATION) as web:
        time.sleep(20)
        for number in range(drops):
            deployment.deliver(f"drop{number:03d}", READS, first=READS * number, partition=False)
        arrived = time.time()
        _wait(lambda: len(deployment.made("drop_report")["drop_report"]) >= drops, web)
        with deployment.instance() as instance:
            predicted = instance.fetch_materializations(dg.AssetKey("predictions"), limit=1).records[0]
            runs = instance.get_runs()
            costs = _costs(instance)
        made = deployment.made(*ASSETS)
        return {
            "drops": drops,
            "reads_a_drop": READS,
            "seconds_to_the_last_prediction": round(predicted.timestamp - arrived, 1),
            "runs": dict(Counter(_first_asset(run) for run in runs)),
            "partitions_made_twice": sum(len(keys) - len(set(keys)) for keys in made.values()),
            "instance_bytes": _size(deployment.root / "dagster"),
            "partitions_page_seconds": _page(web),
            "seconds_a_drop_first_20": round(statistics.median(costs[:20]), 3),
            "seconds_a_drop_last_20": round(statistics.median(costs[-20:]), 3),
            "last_20_to_first_20": round(statistics.median(costs[-20:]) / statistics.median(costs[:20]), 3),
        }


def on_record(drops: int) -> dict[str, Any]:
    """The figures of a deployment in which `drops` drops are finished."""
    with _deployment() as deployment:
        settings, names = deployment.settings(), [f"drop{number:04d}" for number in range(drops)]
        started = time.monotonic()
        with deployment.instance() as instance:
            for name in names:
                deployment.deliver(name, 1, partition=False)
            _register(settings, len(names))
            instance.add_dynamic_partitions(DROPS, names)
            for asset in ASSETS:
                for name in names:
                    for key in Partitions(settings.ranks).of_asset(asset, name):
                        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))
        written = time.monotonic() - started
        with running_web_server(deployment, **AUTOMATION) as web:
            time.sleep(120)
            ticks = {name: _ticks(deployment, name) for name in ("new_drops", "next_runs")}
            page = _page(web)
        return {
            "drops": drops,
            "partitions": drops * (len(ASSETS) - 2 + 2 * settings.ranks),
            "seconds_to_write": round(written, 1),
            "instance_bytes": _size(deployment.root / "dagster"),
            "tick_seconds": ticks,
            "partitions_page_seconds": page,
        }


def _register(settings: Settings, drops: int) -> None:
    """Have all deliveries registered and listed, with scans that are an hour apart."""
    store, observations, now = DropStore(settings.data_root), Observations(), time.time()
    while len(store.keys()) < drops:
        now += 3600
        found = scan(settings, observations, now)
        observations = found.observations
        for delivery in found.of("ready"):
            register_delivery(delivery, settings)
            store.list_files(delivery.key)


@contextmanager
def _deployment() -> Iterator[Deployment]:
    root = Path(tempfile.mkdtemp(prefix="many-drops-"))
    try:
        deployment = Deployment(root)
        (root / "drops").mkdir()
        with deployment.instance():
            pass
        yield deployment
    finally:
        shutil.rmtree(root)


def _wait(done: Callable[[], bool], web: WebServer, seconds: float = 7200) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline or not web.ready():
            raise SystemExit(f"not done after {seconds} seconds")
        time.sleep(3)


def _costs(instance: dg.DagsterInstance) -> list[float]:
    """Seconds of each drop in its runs, in the order of the drops."""
    spent: dict[str, float] = defaultdict(float)
    for record in instance.get_run_records():
        if record.start_time and record.end_time:
            spent[record.dagster_run.tags[DROP]] += record.end_time - record.start_time
    return [spent[drop] for drop in instance.get_dynamic_partitions(DROPS)]


def _first_asset(run: dg.DagsterRun) -> str:
    return min(key.to_user_string() for key in run.asset_selection or [dg.AssetKey("all")])


def _page(web: WebServer) -> dict[str, float]:
    """The slowest of three answers for the partitions page of an asset by drop, and of one by rank."""
    slowest = {}
    for asset in ("predictions", "esm2_embeddings"):
        times = []
        for _ in range(3):
            started = time.monotonic()
            web.ask(PARTITIONS_PAGE, asset={"path": [asset]})
            times.append(time.monotonic() - started)
        slowest[asset] = round(max(times), 3)
    return slowest


def _ticks(deployment: Deployment, sensor: str) -> dict[str, float]:
    """Median and longest of the ticks of a sensor after its first five, which settle what arrived."""
    with deployment.instance() as instance:
        (state,) = [state for state in instance.all_instigator_state() if state.instigator_name == sensor]
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    times = [tick.end_timestamp - tick.timestamp for tick in reversed(ticks) if tick.end_timestamp][5:]
    return {
        "ticks": len(times),
        "median": round(statistics.median(times), 3),
        "longest": round(max(times), 3),
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--on-record", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/many_drops.json"))
    arguments = parser.parse_args()
    result: dict[str, Any] = {"processors": os.cpu_count()}
    if arguments.on_record:
        result["on_record"] = on_record(arguments.on_record)
    if arguments.drops:
        result["arriving_together"] = arriving_together(arguments.drops)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
