from sstools.state.tables import leave_out

from .models import Job, JobLock, JobLog, JobResource, Worker

leave_out("work that was done, or that is asked for again", Job, JobLock, JobLog, JobResource, Worker)
