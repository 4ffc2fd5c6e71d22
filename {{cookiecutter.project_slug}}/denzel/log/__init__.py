"""The log, for people and for machines: in every process of the service, and of the same form in all of them.

    about       whose task or request a line is about
    forms       a line as text, or as JSON (LOG_FORMAT)
    output      what is printed, by user code above all, becomes lines of the log
    configure   what each process does first
    sample      lines that come by the thousand: some of them, and how many were left out
    repeats     warnings and errors of one kind: the first ones, and how many more there were

A line of text begins with the time, the level and the logger's name; the ids of the task and the request stand at its
end, in brackets. A line of JSON is one object. What clients have sent cannot begin a line of its own.

May be used by all packages; imports the top level of `denzel` alone.
"""
