"""Schedules: jobs that ask for themselves, by cron expression and time zone."""
