"""One torch thread per test process, set before torch is imported.

The networks of the tests gain nothing from a second thread, and threads that outnumber the free cores wait for one
another in busy loops: a fit that takes 2 s on one thread took minutes on two while another process used a core. The
worker processes that the tests start get their number of threads from joblib.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
