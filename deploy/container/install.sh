#!/bin/sh
# install.sh SOURCE VENV: the gateway with its locked dependencies in a virtual environment of its own.
# The container image and its test run these same steps.
set -eu
source=$1
venv=$2
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$source/requirements/server.txt"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$source"
"$venv/bin/pip" check
