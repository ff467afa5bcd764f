"""``python -m silicast``."""

from silicast.cli import main

if __name__ == "__main__":
    main()
