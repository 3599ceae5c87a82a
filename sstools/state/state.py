"""What is Django's and the libraries', and why it is no part of the state."""

from axes.models import AccessAttempt, AccessAttemptExpiration, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django_q.models import Failure, OrmQ, Schedule, Success, Task

from .tables import leave_out

leave_out(
    "of Django's own; roles are ours",
    Group,
    Permission,
    ContentType,
    Group.permissions.through,
    get_user_model().groups.through,
    get_user_model().user_permissions.through,
)
leave_out("ends with this ss-tools", Session, OrmQ, Task, Success, Failure, Schedule)
leave_out("attempts to sign in", AccessAttempt, AccessAttemptExpiration, AccessFailureLog, AccessLog)
leave_out("history has what was done", LogEntry)
