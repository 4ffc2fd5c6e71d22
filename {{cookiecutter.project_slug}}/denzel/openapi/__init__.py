"""The service described for its callers: an OpenAPI document, made of what the project knows. Pure: no I/O but reading.

    project      what the project says of itself: its title, text, examples, declared schemas
    inferred     schemas of examples
    operations   what every service answers, whatever its model
    access       who may ask what: keys, and the answers to those that are not let in
    document     all of it as one document
    parts        what operations share: headers, errors, the schemas of the service's own bodies

May import: the top level of `denzel`, and `pipeline` for the declared schemas.
"""
