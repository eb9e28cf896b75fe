"""A classifier behind HTTP: the protocols that people's clients speak, in front of one function.

::

    run          bind, serve, drain: the process
    app          the routes and what they share, as an ASGI application
    connection   what one connection may do: headers and answers that never end, requests sent ahead
    gate         what every request passes: size, time, ids, headers
    access       who may ask: names of the service, pages of other sites
    keys         one of which every request needs, but for health
    wire/        thin views of one function: ours, TEI, vLLM, Open Inference Protocol, SageMaker
    classify     the one function: texts in, answers out, within limits
    measuring    how many tokens texts are, long ones beside the event loop
    batcher      waiting texts become packed batches
    served       a bundle in service: verified, tried on its golden texts
    reload       a new version takes the place of the old one
    telemetry/   what those who run it see: metrics, a log, traces
    drift        whether the texts are still like those that the classifier was chosen on
    refusals     why a request gets no answer
    faults       what the log says of an error: never values
    limits       how much a request, and the service, may hold

Never imports training code. Needs the extra ``serve``.
"""
