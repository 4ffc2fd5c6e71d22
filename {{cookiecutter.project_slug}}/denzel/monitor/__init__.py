"""The monitor: Flower, with a page "Broker" that tells what waits in our queue, whatever carries the messages.

Runs in the container `monitor`; imports no user code, and of the other packages `queue` alone. What rests on private
names of Flower is all here.
"""
