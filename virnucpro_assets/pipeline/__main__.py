"""The whole job without the orchestrator: `python -P -m virnucpro_assets.pipeline READS... --out DIR`.

With -P Python looks for no modules in the working folder.
"""

import argparse
import sys

from virnucpro_assets.demo.recognise import saying_demo_models
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.inference.devices import find_devices
from virnucpro_assets.intake.registration import key_from_name, register_reads
from virnucpro_assets.maintenance.forget import kept_if_indexed
from virnucpro_assets.pipeline.run import check_before, export_results, run_drop
from virnucpro_assets.sequences.read_files import pair_files
from virnucpro_assets.settings import load_settings


def main() -> int:
    """Run the job that the command line describes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -P -m virnucpro_assets.pipeline", description=__doc__)
    parser.add_argument(
        "reads", nargs="+", type=user_path, metavar="READS", help="FASTA, FASTQ or unaligned BAM files"
    )
    parser.add_argument("--out", type=user_path, required=True, help="folder for the tables, hits and report")
    parser.add_argument("--name", help="name of the drop; by default that of the first file")
    parser.add_argument("--chunk-length", type=int, choices=[300, 500])
    parser.add_argument("--duplicates", choices=["suffix", "refuse"])
    parser.add_argument("--paired", action="store_true", help="take the files as pairs of mates, two by two")
    parser.add_argument(
        "--interleaved", action="store_true", help="take each file as pairs of alternating mates"
    )
    parser.add_argument("--replace", action="store_true", help="replace a drop of this name that differs")
    options = parser.parse_args()
    try:
        settings = load_settings()
        check_before(options.out, options.reads, settings, options.chunk_length)
        find_devices(settings.devices, visible=settings.visible_gpus)
        key = options.name or key_from_name(options.reads[0])
        models = settings.model_folders(options.chunk_length or settings.chunk_length)
        with (
            saying_demo_models(models, _say),
            registration_lock(key, settings, _say),
            kept_if_indexed(key, settings),
        ):
            register_reads(
                key,
                pair_files(options.reads, paired=options.paired, interleaved=options.interleaved),
                settings,
                chunk_length=options.chunk_length,
                duplicates=options.duplicates,
                replace=options.replace,
            )
            folder = run_drop(key, settings, _say, replace=options.replace)
            export_results(folder, options.out)
    except VirnucproError as error:
        _say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        _say(f"error: {describe_os_error(error)}")
        return 1
    except KeyboardInterrupt:
        _say("error: interrupted; what is finished is kept, start again to go on")
        return 130
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
