"""One trace for each request, by OpenTelemetry, where its variables switch that on (`switch`).

    switch     whether traces are wanted, and whether they can be had
    spans      what the others call; does nothing while traces are off
    recorded   the same with OpenTelemetry's SDK, which only this module imports

    POST /predict    the request, in the API; its parent is the span that `traceparent` names
        verify       verify_input
        queue        until the call began that its task ran in; made by the process that runs it
        call         process and predict, each a span
        reply        from the outcome's arrival until the answer was sent
        callback     each attempt; the receiver gets it as its parent

Tasks that are merged have one call together: that is a trace of its own, linked to each of the requests; each of these
has a span `merged`, which is linked to the call.

May be used by all packages; imports the top level of `denzel` and `logs` alone.
"""
