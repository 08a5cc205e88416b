"""The files that a finished drop gives to people, in the order in which a command lists them."""

TABLES = [
    "prediction_results.txt",
    "predictions.parquet",
    "prediction_results_highestscore.csv",
    "contig_calls.tsv",
    "chunk_calls.parquet",
    "read_calls.parquet",
    "hits.fasta",
    "viral_regions.bed",
    "viral_regions.gff3",
    "viral_regions.parquet",
    "report.html",
]
