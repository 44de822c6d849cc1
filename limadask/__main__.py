"""``python -m limadask``."""

from limadask.cli import main

if __name__ == "__main__":
    main(prog_name="limadask")
