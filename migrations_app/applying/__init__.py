"""Applying a plan: one run, step by step, each with its intent before and its result after. Runs in a job.

What holds, whatever happens:

* Nothing is written before both sides were exported once more and found as the plan saw them, and a restore point
  was kept.
* Only documents of the plan are sent, with the target's own connections, in closed bundles.
* Only what is read back afterwards counts as written; Superset's "OK" does not.
* A write whose answer never came, also that of a worker that died, is settled by reading the target until it shows it
  or nothing of it can be under way any more; it is never sent again blindly.
* What goes wrong after the first write is undone from the restore point; what cannot be undone is named asset by
  asset.

`run.py` is the way through; `checking`, `writing`, `proving` and `ending` are its stations; `settling` and `patience`
are for a target that gives no answer, `looking` for runs that nobody brought to their end; `attempt.py` is what they
all share.
"""

from .looking import look_at_run, wake_lookers
from .reading import fresh_reading, inventory_ids
from .run import apply_run

__all__ = ["apply_run", "fresh_reading", "inventory_ids", "look_at_run", "wake_lookers"]
