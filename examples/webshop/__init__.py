"""A shop on the web whose customers watch their order being packed."""

from webshop.app import app as app
