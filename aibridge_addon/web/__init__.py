"""The web page: shows the record in a browser, served from this process and without a build step.

    server.py              serves the page on a thread of its own
    app.py site.py         routes, and what the pages share
    guard.py               host names, origins and headers of every request
    access.py sessions.py links.py login.py   who may see which records
    rendering.py templates/ static/           templates and what they use

Every page needs a login. Every query is limited to the viewer's own records, unless they may see
all.
"""
