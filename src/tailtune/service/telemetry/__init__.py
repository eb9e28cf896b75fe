"""What those who run the service see of it: metrics, a log, traces. None of them ever holds a text unless asked.

::

    watch      each request and what became of it, told to those who count
    metrics    Prometheus metrics of one application, at /metrics
    log        a line per request and event, as JSON or for people
    traces     OpenTelemetry spans, where the environment asks for them
    reporting  the log and the traces of one process

Each of them is told of finished requests (``Exchange``); none is called from elsewhere in the service.
"""
