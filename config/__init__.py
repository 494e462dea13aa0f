"""Settings: each declared once, read from flags, environment and file, and checked before the start."""

from config.banner import banner, banner_members, effective_settings
from config.declare import Declaration
from config.errors import Problem, SettingsError
from config.settings import DECLARATIONS, Settings, SettingsSchema
from config.sizing import idle_threads, sizing_problems, thread_count, worker_connections
from config.sources import load_settings
from config.table import markdown_table, toml_file
from config.version import __version__

__all__ = [
    "DECLARATIONS",
    "Declaration",
    "Problem",
    "Settings",
    "SettingsError",
    "SettingsSchema",
    "__version__",
    "banner",
    "banner_members",
    "effective_settings",
    "idle_threads",
    "load_settings",
    "markdown_table",
    "sizing_problems",
    "thread_count",
    "toml_file",
    "worker_connections",
]
