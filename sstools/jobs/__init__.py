"""Background work: the job row is the truth, the queue carries its uuid."""
