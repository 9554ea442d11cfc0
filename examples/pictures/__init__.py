"""Pictures are uploaded, filtered side by side, and laid out on one contact sheet."""

from pictures.app import app as app
