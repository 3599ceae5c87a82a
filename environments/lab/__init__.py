"""Real Supersets on this machine: installed from PyPI, started and stopped by us.

For `make demo`, the live tests and `make bench`. Standard library only, so that a plain Python 3.11 can run it
before anything else is installed; it imports nothing else of ss-tools.

Where to start reading: `lab.Lab` (one PostgreSQL server with any number of Supersets on it), `demo` (two of them
and ss-tools in front), `server` and `client` (one lab shared by all processes of a test run).
"""
