"""A drop given to the web interface: its partition added, all of its assets asked for."""

from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS, BEFORE_EMBEDDINGS, EMBEDDINGS
from virnucpro_assets_tests.web_server import REPOSITORY, WebServer, wait_until

ADD_DROP = """
mutation ($repository: RepositorySelector!, $drop: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "sequence_drops", partitionKey: $drop) {
    __typename
  }
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
    """Add a partition and launch a backfill of all that is made of it; returns the backfill's id."""
    assert web.ask(ADD_DROP, repository=REPOSITORY, drop=drop) == {"__typename": "AddDynamicPartitionSuccess"}
    selection = [{"path": [asset]} for asset in (*BEFORE_EMBEDDINGS, *EMBEDDINGS, *AFTER_EMBEDDINGS)]
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
