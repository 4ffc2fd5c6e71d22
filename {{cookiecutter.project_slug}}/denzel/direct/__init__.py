"""The direct way of a synchronous request: from an API process to a prediction process of the same machine, and back.

A client that waits on its connection holds its request itself, so nothing has to be stored before it runs. An API
process sends such a request over a Unix socket to a process that is idle, or back in a moment; everything else goes
through the queue: asynchronous tasks, requests for which no process of this machine has time, and workers on other
machines. What is promised stays the same: if the prediction process dies, the API process submits the request to the
queue; a request that takes long, or whose client is told to poll, gets its record in Redis as if it had been claimed
there.

`links` runs in the API's processes (`given` is what they remember of a task), `door` in the prediction processes;
`frames` is what they say to each other. None of them imports the queue: what is written to Redis is the affair of
`queue.executor` and `worker.loop`.
"""
