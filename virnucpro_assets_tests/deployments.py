"""A deployment of its own for tests with Dagster: data, deliveries, locks and an instance."""

import gzip
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.loader import LoadingContextForTest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.instance import open_instance
from virnucpro_assets.defs.partitions import DROPS, PARTITION, RANGE_END, RANGE_START
from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.settings import Settings

BY_DROP = (
    "sequence_drop",
    "sequence_index",
    "merged_embeddings",
    "predictions",
    "virus_calls",
    "drop_report",
    "check_report",
)
BY_RANK = ("dnabert_s_embeddings", "esm2_embeddings")


@dataclass(frozen=True)
class Deployment:
    """Everything of a deployment under one folder: 4 ranks, one CPU slot, small checks."""

    root: Path

    @property
    def dagster_home(self) -> Path:
        return self.root / "dagster"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process of this deployment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRNUCPRO_")}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DAGSTER_HOME": str(self.dagster_home),
            "VIRNUCPRO_DATA_ROOT": str(self.root / "data"),
            "VIRNUCPRO_DROPS_FOLDER": str(self.root / "drops"),
            "VIRNUCPRO_LOCKS_FOLDER": str(self.root / "locks"),
            "VIRNUCPRO_DEVICES": "cpu:1",
            "VIRNUCPRO_CHECK_SAMPLE": "4",
            "VIRNUCPRO_AUTOMATION": "0",
            "VIRNUCPRO_STEP_RETRIES": "0",
        }

    def settings(self, **changes: Any) -> Settings:
        """The settings that `environment` gives, some of them changed."""
        return Settings(
            data_root=self.root / "data",
            dagster_home=self.dagster_home,
            drops_folder=self.root / "drops",
            locks_folder=self.root / "locks",
            **{"devices": "cpu:1", "check_sample": 4, "automation": False, "step_retries": 0} | changes,
        )

    def instance(self) -> dg.DagsterInstance:
        """The Dagster instance, SQLite with the settings that the package ships; close it."""
        return open_instance(self.settings())

    def deliver(
        self, drop: str, reads: int, *, first: int = 0, text: str | None = None, partition: bool = True
    ) -> Path:
        """Put some demo reads, or other text, into the drops folder and add the partition."""
        path = self.root / "drops" / drop / f"{drop}.fastq"
        path.parent.mkdir(parents=True)
        with gzip.open(DROP_FILE, "rt") as lines:
            path.write_text("".join(islice(lines, 4 * first, 4 * (first + reads))) if text is None else text)
        if partition:
            with self.instance() as instance:
                instance.add_dynamic_partitions(DROPS, [drop])
        return path

    def command(self, *words: str, cwd: Path | None = None) -> str:
        """Run a command that must succeed; returns all that it printed."""
        done = subprocess.run(
            words,
            env=self.environment,
            cwd=cwd or self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def run(
        self,
        job: str,
        drop: str,
        *,
        last: str | None = None,
        ranks: tuple[int, int] | None = None,
        settings: Settings | None = None,
        selection: Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process, on a drop or from it to the `last`, and the ranks from the first to the last."""
        partitions = {PARTITION: drop} if last is None else {RANGE_START: drop, RANGE_END: last}
        if ranks is not None:
            partitions = {RANGE_START: f"{drop}|{ranks[0]}", RANGE_END: f"{last or drop}|{ranks[1]}"}
        definitions = build_definitions(settings or self.settings())
        with self.instance() as instance:
            return definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                tags={**partitions, **(tags or {})},
                raise_on_error=False,
                asset_selection=[dg.AssetKey(name) for name in selection] if selection else None,
            )

    def recorded(self, result: dg.ExecuteInProcessResult, asset: str) -> list[dg.AssetMaterialization]:
        """What a run recorded of an asset, in order."""
        events = result.get_asset_materialization_events()
        return [
            event.step_materialization_data.materialization
            for event in events
            if event.asset_key == dg.AssetKey(asset)
        ]

    def made(self, *assets: str) -> dict[str, list[str]]:
        """The partitions of assets in the order in which they were materialised, each as often as it was."""
        with self.instance() as instance:
            return {
                asset: [
                    str(record.partition_key)
                    for record in instance.fetch_materializations(
                        dg.AssetKey(asset), limit=10000, ascending=True
                    ).records
                ]
                for asset in assets
            }

    def stale(self) -> list[str]:
        """The partitions that Dagster calls anything but fresh, and why; of what no drop makes nothing is said."""
        found = []
        graph = build_definitions(self.settings()).resolve_asset_graph()
        with self.instance() as instance, partition_loading_context(dynamic_partitions_store=instance):
            resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
            for key in graph.materializable_asset_keys:
                definition = graph.get(key).partitions_def
                for partition in definition.get_partition_keys() if definition else [None]:
                    if (status := resolver.get_status(key, partition)).value != "FRESH":
                        found.append(f"{key.to_user_string()} {partition} {status.value}")
        return found
