"""One thread for every library that reads its environment when it is loaded, which is after this."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GRAPHLOSS_NUM_THREADS"):
    os.environ[name] = "1"
