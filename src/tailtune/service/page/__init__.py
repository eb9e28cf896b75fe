"""The page at ``/``: what a person without a terminal needs to use and to understand the classifiers that are served.

::

    routes     the page, its files, the report of the run
    about      what was measured, and what every threshold would have done, as JSON
    card       the model card as blocks of text, never as HTML
    files/     index.html, its sheet and its modules: no build step, no framework, nothing from elsewhere

The page asks the routes that every client may ask: it knows nothing that they do not tell.
"""
