"""Settings every test needs before anything imports torch or transformers."""

from __future__ import annotations

import os

# One thread a process: two test workers share two cores, and spinning threads would starve them.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OMP_WAIT_POLICY="PASSIVE",
    TOKENIZERS_PARALLELISM="false",
)
# No test asks a hub: models are made here, or come from the user's cache.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
