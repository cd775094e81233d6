# The two commands: `make demo` reconstructs sample data, `make test` runs the tests.
# `make soak` runs those tests that take minutes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT := demo_out

.PHONY: demo test soak clean

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

test: $(VENV)/.test
	$(BIN)/python -m pytest

soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak

clean:
	rm -rf $(VENV) $(DEMO_OUT)
