# The two commands: `make demo` reconstructs sample data, `make test` runs the tests.
# `make soak` runs those tests that take minutes, `make gpu` what needs a GPU, `make docs` builds the
# documentation, `make dist` what is published.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT := demo_out

.PHONY: demo test soak gpu docs dist clean

# One environment; each stamp says with which extras the package was last installed into it.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[video]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/deqsci reconstruct sample_data/wheel.mat --model pnp --measurements 0 \
		-o $(DEMO_OUT) --preview gif,png --overwrite
	@echo "film:    $(DEMO_OUT)/wheel_0.tif (look at $(DEMO_OUT)/wheel_0.gif or wheel_0.png)"
	@echo "report:  $(DEMO_OUT)/report.json"

# Two files of tests or more at once, each with one thread.
test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak

# With the Python that is there: a machine with a GPU has its own PyTorch.
gpu:
	$(PYTHON) -m pytest tests/runtime/test_cuda.py tests/trust/test_same_bytes.py
	$(PYTHON) benchmarks/gpu.py

# A warning is an error: a link that leads nowhere, a name that is not there. All pages are read anew
# (-E), since their text comes from the code too.
docs: $(VENV)/.test
	$(BIN)/python -m sphinx -W --keep-going -q -E -b html docs docs/_build
	@echo "open docs/_build/index.html"

dist: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[release]"
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) $(DEMO_OUT) docs/_build dist
