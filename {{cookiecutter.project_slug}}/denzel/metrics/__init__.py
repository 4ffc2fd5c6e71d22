"""What the service counts and measures, and how it tells at GET /metrics (OpenMetrics, for Prometheus).

    layout      what is counted, under which names
    counts      where a process counts: a few memory writes, without a lock or a call to anybody
    pages       the memory that the processes of a container share for it, which outlives each of them
    machine     memory and CPU of processes, as the system tells them
    figures     what is known of the whole service at one moment
    families    the same as metric families, and as text
    recent      the last ten minutes, in intervals of five seconds

No count is lost or told twice while a process ends in whatever way, as its container's other processes see its page; a
container that is killed as a whole takes along what it counted in its last second. What all containers have counted is
added up in Redis (`queue/totals.py`); without Redis (inline) the pages are all there is.

Used by all packages; imports none of them.
"""
