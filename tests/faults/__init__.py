"""Faults at every request of a migration and at every step of its worker, against real Supersets.

`make faults` sweeps the nine example dashboards, `make test-faults` one dashboard of three charts. One point of a sweep
is one run from a restored target with one thing going wrong: at one request (proxy.py), or the death of the worker
(worker.py) before or after a request or a commit. judge.py then holds what the run says of itself against what the
target shows, read past the proxy.

    sweep.py      what is tried where, and one point from its beginning to its verdict
    proxy.py      stands between ss-tools and one Superset and lets one request go wrong
    worker.py     a process that forks a worker for each piece of work, so that a worker can be killed
    inside.py     what is done in there, with Django: planning, applying, reading the target
    ground.py     the metadata database of a Superset: restored within milliseconds, compared row by row
    estates.py    the assets that are moved
    judge.py      the verdict of one point
    report.py     the table
"""
