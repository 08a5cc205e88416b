"""`python -m virnucpro_assets.cli` is `virnucpro`."""

from virnucpro_assets.cli import main

if __name__ == "__main__":
    main()
