# The template's own commands: `make` lists them. They need Python 3.10 or newer and nothing else;
# what they install goes into .venv and .tox.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
IN_VENV := $(VENV)/bin/python

# What `make demo` and the tests' runner need; everything else is installed by them.
COOKIECUTTER := cookiecutter>=2.7,<3
TOX := tox>=4.30,<5

.PHONY: help demo test lint docs lock audit pictures chaos fuzz compare clean

help:  ## List these commands
	@printf 'denzel-template: turns four functions into a model service\n\n'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: $(VENV)/.demo  ## Bake the Iris example, run it without Docker and ask it for predictions (KEEP=1: keep it running)
	@exec $(IN_VENV) demo.py $(if $(KEEP),KEEP=$(KEEP))

test: $(VENV)/.tox  ## Run every test (ENV=template,plugin picks some); what needs Docker is skipped where there is none
	@$(IN_VENV) -m tox $(if $(ENV),run -e $(ENV),run-parallel --parallel 2 --parallel-live --parallel-no-spinner)

lint: $(VENV)/.tox  ## Check style and types, inside the template too
	@$(IN_VENV) -m tox run -e lint

docs: $(VENV)/.tox  ## Build the documentation as a site, into site/
	@$(IN_VENV) -m tox run -q -e site && printf 'Look at it: site/index.html\n'

lock: $(VENV)/.lock  ## Make the lock of the framework's packages anew, after an edit of its requirements-denzel.txt and at each release
	@PYTHONDONTWRITEBYTECODE=1 exec $(IN_VENV) .ci/lock.py

audit: $(VENV)/.audit  ## Look for known weaknesses of the packages in that lock, where the index tells of them
	@if [ -s $(VENV)/.audit ]; then PYTHONDONTWRITEBYTECODE=1 exec $(IN_VENV) .ci/audit.py; fi

pictures: $(VENV)/.demo  ## Make the pictures of the documentation anew, from a running service; needs chromium (ONLY=monitor,terminal)
	@PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 exec $(IN_VENV) docs/_source/pictures.py $(if $(ONLY),ONLY=$(ONLY))

chaos: $(VENV)/.tox  ## Kill whatever can die while clients ask: MINUTES=5 and TASKS=1500 on each of four services (SEED=n)
	@DENZEL_CHAOS_MINUTES=$(or $(MINUTES),5) DENZEL_CHAOS_TASKS=$(or $(TASKS),1500) DENZEL_CHAOS_SEED=$(SEED) \
	  $(IN_VENV) -m tox run -e chaos

fuzz: $(VENV)/.tox  ## Send requests made at random of the service's description: REQUESTS=200000 (SEED=n, as it printed)
	@DENZEL_FUZZ_REQUESTS=$(or $(REQUESTS),200000) DENZEL_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) \
	  $(IN_VENV) -m tox run -e attacks -- tests/attacks/test_fuzzing.py -s

compare:  ## Measure the service beside other model servers, bench/README.md (WORKLOADS=iris,forest CONNECTIONS=1,16 PEERS=mosec TURNS=6 WRITE=1)
	@exec $(PYTHON) bench/compare.py $(foreach name,WORKLOADS CONNECTIONS PEERS TURNS SECONDS WRITE,$\
	  $(if $(filter command,$(firstword $(origin $(name)))),$(name)=$($(name))))

clean:  ## Remove what these commands made
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.demo: $(VENV)/.created Makefile
	@printf 'Installing Cookiecutter into $(VENV)\n'
	@$(IN_VENV) -m pip install --disable-pip-version-check --progress-bar on '$(COOKIECUTTER)'
	@touch $@

$(VENV)/.tox: $(VENV)/.created Makefile
	@printf 'Installing tox into $(VENV)\n'
	@$(IN_VENV) -m pip install --disable-pip-version-check --progress-bar on '$(TOX)'
	@touch $@

# The version stands where projects have it.
$(VENV)/.lock: $(VENV)/.created Makefile {{cookiecutter.project_slug}}/requirements-tools.txt
	@printf 'Installing uv into $(VENV)\n'
	@$(IN_VENV) -m pip install --disable-pip-version-check --progress-bar on "$$(grep '^uv' '{{cookiecutter.project_slug}}/requirements-tools.txt')"
	@touch $@

# Where there is no network nothing is audited, which is no failure; the file is empty then, and made anew the next time.
.PHONY: $(VENV)/.audit
$(VENV)/.audit: $(VENV)/.created
	@[ -s $@ ] || { $(IN_VENV) -m pip install --quiet --disable-pip-version-check \
	  "$$(grep '^pip-audit' '{{cookiecutter.project_slug}}/requirements-tools.txt')" && echo installed > $@; } \
	  || { printf 'pip-audit could not be installed; nothing was audited.\n' >&2; : > $@; }

# Debian's python3 cannot make an environment with pip in it (that is in python3-venv): where there is a pip beside it,
# that one fills the environment.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  printf 'Python 3.10 or newer is needed. Name one: make %s PYTHON=python3.12\n' '$(MAKECMDGOALS)' >&2; exit 1; }
	@printf 'Creating the virtual environment $(VENV)\n'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(IN_VENV) install -q pip; } 2>/dev/null \
	  || { rm -rf $(VENV); printf '$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: %s\n' \
	       'sudo apt-get install python3-venv' >&2; exit 1; }
	@touch $@
