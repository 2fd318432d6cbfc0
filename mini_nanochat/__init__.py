"""mini_nanochat: a ChatGPT, built piece by piece.

The library behind the course. Each lesson adds one module; `lessons/curriculum.toml` lists them.
Importing this package only defines names, with one exception: where the environment variable
MINI_NANOCHAT_WORKSPACE names a learner's workspace, the modules found there stand in for ours.
"""

import os

__version__ = "0.1.0"

if os.environ.get("MINI_NANOCHAT_WORKSPACE"):
    from mini_nanochat import overlay

    try:
        overlay.install(os.environ["MINI_NANOCHAT_WORKSPACE"])
    except FileNotFoundError as error:
        raise SystemExit(f"mini_nanochat: {error}") from None
