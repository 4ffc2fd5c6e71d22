#!/bin/sh
# Sourced by the entrypoints of what runs user code. In containers the working directory is a file system of its own, in
# memory, which user code may write into, with app/, denzel/ and entrypoints/ mounted below it. What else the image has
# there, the requirement files and packages of the project's own, is linked from where the image keeps it.
if [ -d /opt/image ]; then
  mkdir -p logs
fi
for path in /opt/image/* /opt/image/.[!.]*; do
  name=${path##*/}
  if [ -e "$path" ] && [ ! -e "$name" ]; then
    ln -s "$path" "$name"
  fi
done
