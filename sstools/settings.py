"""Every setting, top to bottom. Values come from SSTOOLS_ variables (README has the table); there are no variants of
this file for development or production.
"""

from datetime import timedelta
from pathlib import Path

from csp.constants import NONCE, NONE, SELF

from . import databases
from .env import SettingError, env_bool, env_int, env_list, env_mail_server, env_secret, env_str
from .keys import checked_field_keys, kept_key, new_field_key, new_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env_str("SSTOOLS_DATA_DIR", str(BASE_DIR / "var"))).expanduser().resolve()
try:
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
except OSError as exc:
    raise SettingError(f"SSTOOLS_DATA_DIR: {DATA_DIR} cannot be made: {exc.strerror}.") from None

# --- Keys ---------------------------------------------------------------------------------------------------------
# Two separate keys: sessions may be thrown away by changing the first, stored credentials must survive that.
SECRET_KEY = env_secret("SSTOOLS_SECRET_KEY", "") or kept_key(DATA_DIR / "secret_key", new_secret_key)
SECRET_KEY_FALLBACKS = env_list("SSTOOLS_SECRET_KEY_FALLBACKS", [])
FIELD_KEYS = checked_field_keys(
    env_secret("SSTOOLS_FIELD_KEYS", "") or kept_key(DATA_DIR / "field_keys", new_field_key),
    "SSTOOLS_FIELD_KEYS",
)

# --- Web ----------------------------------------------------------------------------------------------------------
DEBUG = env_bool("SSTOOLS_DEBUG", False)
BIND = env_str("SSTOOLS_BIND", "127.0.0.1:8140")
WEB_PROCESSES = env_int("SSTOOLS_WEB_PROCESSES", 2, at_least=1)
WEB_THREADS = env_int("SSTOOLS_WEB_THREADS", 4, at_least=1)
ALLOWED_HOSTS = env_list("SSTOOLS_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env_list("SSTOOLS_CSRF_TRUSTED_ORIGINS", [])
TRUST_PROXY = env_bool("SSTOOLS_TRUST_PROXY", False)
if (
    TRUST_PROXY
):  # only behind a proxy that sets these two itself: a client could claim TLS and any host otherwise
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    USE_X_FORWARDED_HOST = True
HTTPS = env_bool("SSTOOLS_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes come from inside, without TLS
SECURE_HSTS_SECONDS = 365 * 86_400 if HTTPS else 0
# All of the first four hang on SSTOOLS_HTTPS, and sstools.W001 says so in one sentence. What other hosts of the same
# domain do is for the owner of the domain to say.
SILENCED_SYSTEM_CHECKS = [f"security.W{number}" for number in ("004", "008", "012", "016", "005", "021")]
SESSION_COOKIE_NAME = "sstools_session"
CSRF_COOKIE_NAME = "sstools_csrf"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = (
    True  # htmx sends the token of the form, no script reads the cookie
)
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_ENGINE = "sstools.signin.engine"
SESSION_COOKIE_AGE = env_int("SSTOOLS_SESSION_HOURS", 12, at_least=1) * 3600
SESSION_IDLE_MINUTES = env_int("SSTOOLS_SESSION_IDLE_MINUTES", 8 * 60, at_least=5)
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
ROOT_URLCONF = "sstools.urls"
WSGI_APPLICATION = "sstools.wsgi.application"
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

INSTALLED_APPS = [
    "migrations_app",
    "migrations_app.release",
    "migrations_app.drift",
    "migrations_app.estate",
    "migrations_app.files",
    "migrations_app.fanout",
    "migrations_app.git",
    "migrations_app.rehearsals",
    "migrations_app.replacing",
    "environments",
    "environments.search",
    "environments.backups",
    "environments.backups.storages",
    "sstools.web",
    "sstools.api",
    "sstools.jobs",
    "sstools.schedules",
    "sstools.audit",
    "sstools.roles",
    "sstools.signin",
    "sstools.notices",
    "sstools.plugins",
    "sstools.state",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "csp",
    "axes",
    "django_q",
]

MIDDLEWARE = [
    "sstools.logs.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "sstools.health.ProbeMiddleware",
    "sstools.health.LastThreadMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "sstools.roles.middleware.DenialsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "sstools.signin.middleware.SessionEndMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "sstools.web.middleware.PreferencesMiddleware",
    "sstools.web.middleware.SignedOutMiddleware",
    "sstools.web.middleware.ExpectedErrorMiddleware",
    "sstools.web.middleware.PlainTextMiddleware",
    "axes.middleware.AxesMiddleware",
]
CSRF_FAILURE_VIEW = "sstools.api.errors.csrf_failure"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "sstools.web.context_processors.shell",
            ],
        },
    },
]

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Collected beforehand, as in the image: then a start collects nothing.
STATIC_DIR = env_str("SSTOOLS_STATIC_DIR", "")
STATIC_ROOT = Path(STATIC_DIR) if STATIC_DIR else DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Hashed names, so that browsers may keep them for ever. Debugging serves the files as they are.
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
MEDIA_ROOT = DATA_DIR / "files"

# --- Database -----------------------------------------------------------------------------------------------------
DATABASE_URL = env_secret("SSTOOLS_DATABASE_URL", "")
DATABASES = {
    "default": databases.from_url(DATABASE_URL)
    if DATABASE_URL
    else databases.sqlite(DATA_DIR / "ss-tools.sqlite3")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# ATOMIC_REQUESTS stays off: a service opens its own short transaction, and no call leaves the house inside one.

# --- People -------------------------------------------------------------------------------------------------------
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: after too many wrong passwords nobody looks at the next
    "sstools.signin.backends.LocalBackend",
    "sstools.signin.backends.DirectoryBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en"
TIME_ZONE = env_str("SSTOOLS_TIME_ZONE", "UTC")
USE_TZ = True
USE_I18N = True

# With a password: everybody, superusers (emergency accounts) or nobody.
LOCAL_SIGN_IN = env_str("SSTOOLS_LOCAL_SIGN_IN", "everybody", choices=("everybody", "superusers", "nobody"))
SIGN_IN_ATTEMPTS = env_int("SSTOOLS_SIGN_IN_ATTEMPTS", 10, at_least=1)
SIGN_IN_PAUSE_MINUTES = env_int("SSTOOLS_SIGN_IN_PAUSE_MINUTES", 15, at_least=1)
AXES_FAILURE_LIMIT = SIGN_IN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(minutes=SIGN_IN_PAUSE_MINUTES)
# By name and address together: nobody can lock somebody else out from afar.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "sstools.logs.client_address"
AXES_LOCKOUT_CALLABLE = "sstools.signin.views.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True  # sign-ins are in our own history
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]  # beside the password: people type theirs into the wrong field

# A directory: ADFS by its host name, or Entra ID by its tenant. sstools/signin has what the library lacks.
ADFS_SERVER = env_str("SSTOOLS_ADFS_SERVER", "")
ENTRA_TENANT = env_str("SSTOOLS_ENTRA_TENANT", "")
SSO = bool(ADFS_SERVER or ENTRA_TENANT)
SSO_LABEL = env_str("SSTOOLS_SSO_LABEL", "Sign in with your company account")
SSO_SESSION_HOURS = env_int("SSTOOLS_SSO_SESSION_HOURS", 8, at_least=1)
SSO_USERNAME_CLAIM = env_str(
    "SSTOOLS_SSO_USERNAME_CLAIM", "preferred_username" if ENTRA_TENANT else "winaccountname"
)
SSO_SUBJECT_CLAIM = env_str("SSTOOLS_SSO_SUBJECT_CLAIM", "")
if SSO:
    if ADFS_SERVER and ENTRA_TENANT:
        raise SettingError("Set SSTOOLS_ADFS_SERVER or SSTOOLS_ENTRA_TENANT, not both.")
    _client, _resource = env_str("SSTOOLS_SSO_CLIENT_ID"), env_str("SSTOOLS_SSO_RESOURCE")
    AUTH_ADFS = {
        "CLIENT_ID": _client,
        "CLIENT_SECRET": env_secret("SSTOOLS_SSO_CLIENT_SECRET", "") or None,
        "RELYING_PARTY_ID": _resource,
        "AUDIENCE": env_list("SSTOOLS_SSO_AUDIENCE", [_resource, _client] if ENTRA_TENANT else [_resource]),
        "CA_BUNDLE": env_str("SSTOOLS_SSO_CA_BUNDLE", "") or True,
        "USERNAME_CLAIM": SSO_USERNAME_CLAIM,
        "GROUPS_CLAIM": env_str("SSTOOLS_SSO_GROUPS_CLAIM", "groups" if ENTRA_TENANT else "group"),
        "TIMEOUT": 5,
        "RETRIES": 1,
        "CONFIG_RELOAD_INTERVAL": 1,
        "JWT_LEEWAY": 30,
        "PROXIES": {"https": env_str("SSTOOLS_SSO_PROXY", "")},
        **(
            {"TENANT_ID": ENTRA_TENANT, "VERSION": "v2.0", "SCOPES": ["openid", f"{_resource}/.default"]}
            if ENTRA_TENANT
            else {"SERVER": ADFS_SERVER}
        ),
    }

# Names of groups of the directory ("BI-*") that ss-tools gets to know by itself when somebody in them signs in.
DIRECTORY_GROUPS = env_list("SSTOOLS_DIRECTORY_GROUPS", [])
ADMIN_PASSWORD = env_secret("SSTOOLS_ADMIN_PASSWORD", "")  # of the first user, `admin`, in an empty database

TOKEN_MAX_DAYS = env_int("SSTOOLS_TOKEN_MAX_DAYS", 0)  # 0: tokens may live for ever
AUDIT_KEEP_DAYS = env_int("SSTOOLS_AUDIT_KEEP_DAYS", 0)  # 0: for ever

# --- Calls to the outside, and mail --------------------------------------------------------------------------------
# As people reach it: for links in mails and notices.
PUBLIC_URL = env_str("SSTOOLS_PUBLIC_URL", "").rstrip("/")
# Hosts and networks inside of which webhooks may be called, and without TLS; everything public is allowed with it.
OUTBOUND_ALLOW = env_list("SSTOOLS_OUTBOUND_ALLOW", [])
# Hosts ("*.corp.example") and networks at which Supersets may be registered; none: everywhere but where clouds keep
# credentials.
ENVIRONMENT_HOSTS = env_list("SSTOOLS_ENVIRONMENT_HOSTS", [])
OUTBOUND_PROXY = env_str("SSTOOLS_OUTBOUND_PROXY", "")
# Authorities of a company's own, beside those that everybody trusts: its git server is signed by one.
OUTBOUND_CA_BUNDLE = env_str("SSTOOLS_OUTBOUND_CA_BUNDLE", "")
if OUTBOUND_CA_BUNDLE and not Path(OUTBOUND_CA_BUNDLE).is_file():
    raise SettingError("SSTOOLS_OUTBOUND_CA_BUNDLE must name a file of certificates.")
# smtp://user:password@host:587 (STARTTLS), smtps://…:465 (TLS), smtp+plain://host:25.
MAIL = env_mail_server("SSTOOLS_MAIL_URL")
MAIL_ENABLED = bool(MAIL)
EMAIL_HOST, EMAIL_PORT = MAIL.get("host", ""), MAIL.get("port", 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.get("user", ""), MAIL.get("password", "")
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.get("starttls", False), MAIL.get("tls", False)
DEFAULT_FROM_EMAIL = env_str("SSTOOLS_MAIL_FROM", "ss-tools@localhost")

# --- Jobs ---------------------------------------------------------------------------------------------------------
JOB_WORKERS = env_int("SSTOOLS_JOB_WORKERS", 4, at_least=1)
JOB_LEASE_SECONDS = env_int("SSTOOLS_JOB_LEASE_SECONDS", 30, at_least=1)
JOB_GRACE_SECONDS = env_int("SSTOOLS_JOB_GRACE_SECONDS", 60, at_least=1)
JOB_SWEEP_SECONDS = env_int("SSTOOLS_JOB_SWEEP_SECONDS", 15, at_least=1)
JOB_MAX_ATTEMPTS = env_int("SSTOOLS_JOB_MAX_ATTEMPTS", 5, at_least=1)
# How long a write whose answer never came may still be under way, in percent of the environment's timeout for imports
# (for other writes: for reads); and how long a run that has written waits for a target that is away.
WRITE_ENDS_PERCENT = env_int("SSTOOLS_WRITE_ENDS_PERCENT", 150, at_least=100)
TARGET_PATIENCE_SECONDS = env_int("SSTOOLS_TARGET_PATIENCE_SECONDS", 600, at_least=0)
# More than this share of what a way brought is not removed by it without somebody confirming that.
PRUNE_SHARE_PERCENT = env_int("SSTOOLS_PRUNE_SHARE_PERCENT", 20, at_least=0)
JOB_TIMEOUT_SECONDS = env_int("SSTOOLS_JOB_TIMEOUT_SECONDS", 6 * 3600, at_least=60)
JOB_KEEP_DAYS = env_int("SSTOOLS_JOB_KEEP_DAYS", 180, at_least=1)
JOB_LOG_KEEP_DAYS = env_int("SSTOOLS_JOB_LOG_KEEP_DAYS", 30, at_least=1)
JOB_LOG_LINES = env_int("SSTOOLS_JOB_LOG_LINES", 10_000, at_least=100)
UPLOAD_KEEP_DAYS = env_int("SSTOOLS_UPLOAD_KEEP_DAYS", 30, at_least=1)
SCHEDULE_HISTORY_DAYS = env_int("SSTOOLS_SCHEDULE_HISTORY_DAYS", 90, at_least=1)
# A folder with packages of plugins beside what is installed, and the most memory that one call of a plugin may take.
PLUGINS_DIR = env_str("SSTOOLS_PLUGINS_DIR", "")
PLUGIN_MEMORY_MB = env_int("SSTOOLS_PLUGIN_MEMORY_MB", 1024, at_least=128)
# The queue carries uuids of jobs and nothing else; what it knows of success and failure is not the truth.
Q_CLUSTER = {
    "name": "sstools",
    "orm": "default",  # the message is written in the transaction that writes the job
    "broker_class": "sstools.jobs.broker.Broker",
    "workers": JOB_WORKERS,
    "queue_limit": JOB_WORKERS,  # what is fetched into memory is seen by no other machine, so fetch little
    "bulk": 1,
    "timeout": JOB_TIMEOUT_SECONDS,
    "retry": JOB_TIMEOUT_SECONDS
    + 600,  # shorter than the timeout would run long jobs twice; the sweeper is faster
    "ack_failures": True,  # or a failing message comes back for ever
    "max_attempts": 1,
    "save_limit": -1,  # any other value loads all old results at each end of a task
    "poll": 0.1,
    "recycle": 100,
    "max_rss": 400_000,  # kB
    "catch_up": False,
    "label": "Queue",
}

# --- Credentials of Supersets that are kept elsewhere ----------------------------------------------------------------
# What "env:NAME" and "file:/path" may point to. Without these lists, whoever may register an environment could have any
# variable or file of this machine sent to an address of their own.
CREDENTIAL_VARIABLES = env_list("SSTOOLS_CREDENTIAL_VARIABLES", ["SUPERSET_*", "SSTOOLS_CREDENTIAL_*"])
CREDENTIAL_FOLDERS = env_list("SSTOOLS_CREDENTIAL_FOLDERS", ["/run/secrets", str(DATA_DIR / "credentials")])
# Folders of this machine below which git repositories may be registered by file:// address; none: not at all.
GIT_FOLDERS = env_list("SSTOOLS_GIT_FOLDERS", [])

# --- Backups ------------------------------------------------------------------------------------------------------
# Where the documents of backups are kept. Each storage that is set up can be chosen; this one is where nobody does.
BACKUP_STORAGE = env_str("SSTOOLS_BACKUP_STORAGE", "database", choices=("database", "folder", "s3"))
BACKUP_FOLDER = env_str("SSTOOLS_BACKUP_FOLDER", "")
BACKUP_S3 = {
    "bucket": env_str("SSTOOLS_BACKUP_S3_BUCKET", ""),
    "prefix": env_str("SSTOOLS_BACKUP_S3_PREFIX", ""),
    "endpoint": env_str("SSTOOLS_BACKUP_S3_ENDPOINT", ""),
    "region": env_str("SSTOOLS_BACKUP_S3_REGION", ""),
    "access_key": env_secret("SSTOOLS_BACKUP_S3_ACCESS_KEY", ""),
    "secret_key": env_secret("SSTOOLS_BACKUP_S3_SECRET_KEY", ""),
    "addressing": env_str("SSTOOLS_BACKUP_S3_ADDRESSING", "auto", choices=("auto", "path", "virtual")),
    "ca_bundle": env_str("SSTOOLS_BACKUP_S3_CA_BUNDLE", ""),
}
if BACKUP_STORAGE == "folder" and not BACKUP_FOLDER:
    raise SettingError("SSTOOLS_BACKUP_FOLDER must be set when SSTOOLS_BACKUP_STORAGE is folder.")
if BACKUP_FOLDER and not Path(BACKUP_FOLDER).is_absolute():
    raise SettingError("SSTOOLS_BACKUP_FOLDER must be an absolute path.")
if BACKUP_STORAGE == "s3" and not BACKUP_S3["bucket"]:
    raise SettingError("SSTOOLS_BACKUP_S3_BUCKET must be set when SSTOOLS_BACKUP_STORAGE is s3.")
_backup_keys = env_secret("SSTOOLS_BACKUP_ENCRYPTION_KEYS", "")
BACKUP_ENCRYPTION_KEYS = (
    checked_field_keys(_backup_keys, "SSTOOLS_BACKUP_ENCRYPTION_KEYS") if _backup_keys else []
)
BACKUP_STORAGE_TIMEOUT_SECONDS = env_int("SSTOOLS_BACKUP_STORAGE_TIMEOUT_SECONDS", 60, at_least=1)

# --- REST API -----------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "sstools.api.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["sstools.api.parsers.PlainJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "sstools.api.pagination.NumberedPages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "sstools.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ss-tools",
    "DESCRIPTION": "Moves dashboards, charts and datasets between Apache Superset instances.",
    "VERSION": "v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "sstools.api.schema.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {  # several things have a `state`
        "BackupStateEnum": "environments.backups.models.BackupState",
        "AnswerEnum": ["take", "keep", "leave_out", "adopt", "rename", "by_uuid", "by_id"],
        "ComeAlongEnum": ["off", "on"],
        "CompanionKindEnum": "migrations_app.engine.companions.KIND_NAMES",
        "ComparedStateEnum": "migrations_app.comparing.listing.STATES",
        "DriftStateEnum": "migrations_app.drift.models.FindingState",
        "FanOutRunStateEnum": "migrations_app.fanout.models.FanOutRunState",
        "KindEnum": "environments.models.KIND_CHOICES",
        "JobStateEnum": "sstools.jobs.models.State",
        "OriginEnum": "sstools.roles.models.Source",
        "SourceEnum": "sstools.jobs.models.Source",
        "MigrationStateEnum": "migrations_app.models.MigrationState",
        "ReadingStateEnum": "environments.models.ReadingState",
        "ScheduleStateEnum": "sstools.schedules.models.State",
        "RunStateEnum": "migrations_app.models.RunState",
        "StepStateEnum": "migrations_app.models.StepState",
    },
}

# --- Logs ---------------------------------------------------------------------------------------------------------
DEFAULT_EXCEPTION_REPORTER = "sstools.web.reporting.Reporter"  # the page of an error with SSTOOLS_DEBUG
DEFAULT_EXCEPTION_REPORTER_FILTER = "sstools.web.reporting.Filter"
LOG_LEVEL = env_str("SSTOOLS_LOG_LEVEL", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
LOG_FORMAT = env_str("SSTOOLS_LOG_FORMAT", "text", choices=("text", "json"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "context": {"()": "sstools.logs.ContextFilter"},
        "outage": {"()": "sstools.logs.OutageFilter"},
        "redact": {"()": "sstools.logs.RedactingFilter"},
    },
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s %(job_id)s] %(message)s"},
        "json": {"()": "sstools.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["context", "outage", "redact"],
            "formatter": LOG_FORMAT,
        },
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django.server": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django-q": {"handlers": [], "level": "WARNING", "propagate": True},
        "django_auth_adfs": {"level": "WARNING"},  # it writes tokens and codes at DEBUG
        "httpx": {"level": "WARNING"},  # the Superset client keeps its own log, without query strings
        "httpcore": {"level": "WARNING"},
        # At DEBUG they write the headers of requests, with their signatures.
        "boto3": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "django.db.backends": {"level": "INFO"},  # at DEBUG it writes values, and so sessions
        "django.template": {"level": "INFO"},  # at DEBUG it writes requests with their query strings
    },
}
