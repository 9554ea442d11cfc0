"""The documentation as a site: its pages gathered, its reference generated, and MkDocs to draw it.

`pages` knows which files are pages and how their links lead on, `*_reference` write what is generated, `gather` puts
all of it into one folder as plain Markdown, `__main__` has MkDocs build that. Only `__main__` needs the extra "docs".
"""
