"""The three jobs that make a drop, in their order; and the one that trains a classifier.

A run has one set of partitions, so a drop takes three runs: what is cut by drop up to the
index, the embeddings by rank, and what is cut by drop after them.
"""

import dagster as dg

BEFORE_EMBEDDINGS = ("classifier", "sequence_drop", "sequence_index")
EMBEDDINGS = ("dnabert_s_embeddings", "esm2_embeddings")
AFTER_EMBEDDINGS = ("merged_embeddings", "predictions", "virus_calls", "drop_report", "check_report")

INDEX_DROP = dg.define_asset_job(
    "index_drop", list(BEFORE_EMBEDDINGS), description="List the files of a drop and build its index."
)
EMBED_DROP = dg.define_asset_job(
    "embed_drop",
    list(EMBEDDINGS),
    description="Compute the embeddings of any ranks of a drop on the devices.",
)
CALL_DROP = dg.define_asset_job(
    "call_drop",
    list(AFTER_EMBEDDINGS),
    description="Merge the embeddings of a drop, predict, call and report.",
)
TRAINING_STEP = "train"
TRAINING = ("training_set", "trained_classifier", "classifier_evaluation")
TRAIN_CLASSIFIER = "train_classifier"
JOBS = (INDEX_DROP, EMBED_DROP, CALL_DROP)
