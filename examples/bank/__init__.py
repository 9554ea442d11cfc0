"""A bank that books each salary once and tells its customers, though a worker is killed meanwhile."""

from bank.app import app as app
