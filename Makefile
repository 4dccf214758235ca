# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ALL := test,parquet,huggingface,tfds,onnx,int4,heic,tpe,kerashub,language

# `make test` leaves out what takes long or needs several processes; `make test EVERYTHING=1` leaves out only the campaigns,
# which `make chaos` and `make equality` run. Each prints its time and its slowest tests.
MARKERS := not slow and not multi_worker and not gpu and not chaos and not equality
PYTEST_ALL := $(BIN)/python -m pytest -n 2 --dist worksteal --durations 20
ifdef EVERYTHING
MARKERS := not chaos and not equality
EXTRAS := $(VENV)/extras
endif

.PHONY: demo demo-photos test equality chaos lint constraints clean

demo: $(VENV)/installed
	$(BIN)/kerastrain train

# 60 photos of cats and dogs that ship with the repository; so few train the head of EfficientNet-Lite0 only.
demo-photos: $(VENV)/installed
	$(BIN)/kerastrain train data.path=examples/photos fit.epochs=0

test: lint $(EXTRAS)
	$(PYTEST_ALL) -m "$(MARKERS)" $(PYTEST)

# Every optimizer with every option on two devices and in two processes; half an hour.
equality: $(VENV)/installed
	$(PYTEST_ALL) -m equality tests $(PYTEST)

# Trainings killed 200 times at seeded moments and resumed to the same bits, full disks, killed workers, long tables and large
# networks; an hour.
chaos: $(VENV)/installed
	$(PYTEST_ALL) -m chaos tests $(PYTEST)
	$(BIN)/python tests/support/kills.py 200 0

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# uv takes a third of pip's time; pip is used where uv fails, such as behind a mirror that only pip's settings name.
define install
$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1' && \
$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable '.[$(1)]' || \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(1)]'
endef

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) and 'kerastrain needs Python 3.10 to 3.13, got ' + sys.version.split()[0] + '. Call: make PYTHON=python3.12 ' + 'demo')"
	$(PYTHON) -m venv $(VENV)
	$(call install,test)
	touch $@

# MLflow and Weights & Biases are left out, for their size: `pip install -e '.[mlflow,wandb]'` brings what tests/tracking skips.
# What pretrained networks, the readers of Parquet, Hugging Face and TensorFlow Datasets, the writers of ONNX and int4 files and
# the search by hyperopt need; their tests are left out without it.
$(VENV)/extras: $(VENV)/installed
	$(call install,$(ALL))
	touch $@

# The exact versions of the two commands, one file for Python 3.10 to 3.13.
# (uv passes over upper bounds on Python, and backports-strenum 1.3 runs on 3.10 alone.)
constraints: $(VENV)/installed
	$(BIN)/python -m pip install --quiet uv
	echo 'backports-strenum<1.3' | $(BIN)/python -m uv pip compile --universal --python-version 3.10 --extra test --extra parquet --extra huggingface --extra tfds --extra onnx --extra int4 --extra heic --extra tpe --extra kerashub --extra language --extra mlflow --extra wandb \
		--no-annotate --no-header --upgrade --constraint /dev/stdin --output-file constraints.txt setup.cfg

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
