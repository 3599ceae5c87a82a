from django.apps import AppConfig


class FilesConfig(AppConfig):
    name = "migrations_app.files"
    label = "files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sstools.jobs import hooks, tidying

        from . import services

        hooks.ended.append(services.job_ended)
        tidying.register("audits of files", services.forget_audits)
