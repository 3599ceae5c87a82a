"""Pages of background work: the list, one job with its progress and its log, the workers."""

from .changes import job_answer, job_cancel, job_retry
from .detail import job_detail, job_progress
from .lists import job_list
from .log import job_log, job_log_lines, job_log_text
from .workers import worker_list

__all__ = [
    "job_answer",
    "job_cancel",
    "job_detail",
    "job_list",
    "job_log",
    "job_log_lines",
    "job_log_text",
    "job_progress",
    "job_retry",
    "worker_list",
]
