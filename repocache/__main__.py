"""`python -m repocache`, the same as the console script."""

from repocache.cli import main

if __name__ == "__main__":
    main()
