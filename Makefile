# What a developer runs; CI runs .ci/run, which needs no make.
#
# Everything takes the tools of .venv if there is one (make venv), else those on
# the PATH, and the code of this checkout, whatever is installed.

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
PYTHON ?= python3
JOBS ?= $(shell nproc)

.PHONY: help run fast lint units test coverage sim servers starts long docs bench venv clean

help:
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 16

run:  ## start a broker from this checkout, on 127.0.0.1:9092
	python -m kafscale run

fast: lint units  ## style, types, import contract, unit tests: under two minutes

lint:  ## style, types, import contract
	ruff check --config .ci/ruff.toml .
	mypy kafscale tests twisted/plugins/kafscale_plugin.py
	lint-imports

units:  ## the unit tests: those that need no other process or program
	python -m twisted.trial -j$(JOBS) --reporter=text $$(.ci/units)

test:  ## everything that must hold before a change is taken
	.ci/run

coverage:  ## how much of the code the unit tests run, line by line in build/coverage
	coverage erase
	coverage run -m twisted.trial -j$(JOBS) --reporter=text $$(.ci/units)
	coverage combine --quiet
	coverage html --quiet
	coverage report --skip-covered

sim:  ## a thousand simulated minutes of clusters in which much goes wrong
	python -m tests.simulation --minutes 1000 --processes $(JOBS)

ON_BUCKETS := $(addprefix tests.store.s3.test_objects.,S3ContractTests PartsContractTests ProbeTests) \
	tests.clients.test_s3.BucketTests tests.clients.test_crash tests.clients.test_restarts

servers:  ## the tests with buckets on S3 servers of others (builds them: needs Rust 1.92)
	python -m tests.harness.peers --long
	failed=; for server in localstack juicefs versitygw rclone s3proxy gofakes3 s3s-fs; do \
		echo "== $$server"; \
		KAFSCALE_TEST_S3=$$server python -m twisted.trial $(ON_BUCKETS) || failed="$$failed $$server"; \
	done; \
	KAFSCALE_TEST_S3=s3rver python -m twisted.trial tests.store.s3.test_objects.ProbeTests \
		|| failed="$$failed s3rver"; \
	[ -z "$$failed" ] || { echo "failed on:$$failed" >&2; exit 1; }

starts:  ## a hundred starts each on S3 servers that race on creates, and on one that does not
	python -m tests.harness.peers --long
	set -e; for server in s3proxy s3s-fs versitygw; do python -m tests.store.s3.starts $$server; done

long: servers starts  ## what takes longer than CI allows: all S3 servers, kills, and ten times its simulated minutes
	KAFSCALE_TEST_KILLS=200 python -m twisted.trial tests.clients.test_access_changes
	python -m tests.simulation --minutes 100000 --processes $(JOBS)

docs:  ## API documentation in build/docs; a reference that does not resolve is an error
	pydoctor

bench:  ## benchmarks beside a minimal server
	python -m tests.bench

venv:  ## create .venv with everything that the tests need
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check '.[test]'
	rm -rf build *.egg-info
	cp .venv/lib/python3*/site-packages/kafscale/wire/_walker*.so kafscale/wire/ || true  # built without a compiler
	cp .venv/lib/python3*/site-packages/kafscale/store/local/_creator*.so kafscale/store/local/ || true
	cd tests/clients/kafkajs && npm ci --no-audit --no-fund --loglevel=error
	.venv/bin/python -m tests.harness.peers

clean:  ## remove what the other targets leave, but not .venv
	rm -rf build .coverage .coverage.* _trial_temp* *.egg-info
