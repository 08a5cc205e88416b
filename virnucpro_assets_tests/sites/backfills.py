"""All assets of a drop that the arrival sensor found, asked for as the UI asks."""

from virnucpro_assets.defs.partitions import ASSETS, CLASSIFIER
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import WebServer

PARTITIONS = """
query ($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode { partitionKeys } }
}"""
LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId }
  }
}"""
STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""


def launch(web: WebServer, drop: str) -> str:
    """Launch a backfill of all that is made of a drop, once its partition is there; returns its id."""
    wait_until(lambda: drop in web.ask(PARTITIONS, asset={"path": ["sequence_drop"]})["partitionKeys"], 120)
    selection = [{"path": [asset]} for asset in (CLASSIFIER, *ASSETS)]
    launched = web.ask(LAUNCH, params={"assetSelection": selection, "partitionNames": [drop]})
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def materialise(web: WebServer, drop: str, seconds: float) -> None:
    """Launch a backfill of a drop and wait until it is completed."""
    backfill = launch(web, drop)

    def status() -> str:
        return str(web.ask(STATUS, id=backfill)["status"])

    wait_until(lambda: status() not in {"REQUESTED", "COMPLETING", "CANCELING", "FAILING"}, seconds)
    assert status() == "COMPLETED_SUCCESS"
