"""A small project, laid out as most are: an app, modules of tasks, and `-A proj` finds it."""

from proj.app import app as app
