#!/bin/sh
# Sourced by the entrypoints, so that only our own settings steer our programs: what other programs and projects have
# left in the environment goes, whether a shell, an orchestrator or an image brought it.
#   - what Celery, Flower, gunicorn, uvicorn and their libraries read by themselves
#   - what Kubernetes and container links tell of services they know: REDIS_PORT=tcp://10.0.0.1:6379
#   - what changes how Python finds or runs the framework (verify_input may check by assert)
# Other names, PYTHONPATH and PYTHONHASHSEED among them, are left to the user's code.
for name in $(env | sed -En \
  -e 's/^((CELERY|FALCON|FLOWER|GUNICORN|KOMBU|UVICORN)_[A-Za-z0-9_]*)=.*/\1/p' \
  -e 's/^([A-Za-z0-9_]+_PORT)=(tcp|udp|sctp):.*/\1/p'); do
  unset "$name"
done
unset C_STRICT_APP C_WARN_APP FORWARDED_ALLOW_IPS REMAP_SIGTERM WEB_CONCURRENCY \
  PYTHONHOME PYTHONINSPECT PYTHONOPTIMIZE PYTHONSAFEPATH PYTHONSTARTUP
