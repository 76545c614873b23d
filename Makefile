# The ways in. `make` alone prints them.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/usr/lib/systemd/system,/etc/systemd/system)

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench fuzz lint build install conformance clean-test images

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a release brings a migration and turns bad, Steadfast takes both back (installs what is missing)
	@tests/tools/ready.sh
	@$(MAKE) --no-print-directory build
	target/release/steadfast demo

test: ## everything that is proven, on real engines; the last line is the count
	@tests/run.sh

soak: ## RUNS=1000000 simulated runs, and hundreds of real kills; resumable; ends with `runs N faults N violations N`
	@tests/tools/soak.sh $(RUNS)

bench: ## measure against raw calls and against Swarm; writes target/bench.json
	@tests/tools/ready.sh
	$(CARGO) build --release --locked -p steadfast
	$(CARGO) run --release --locked -p steadfast-tests --bin bench

fuzz: ## feed the parsers and the ledger for SECONDS_EACH=60 seconds each (needs cargo-fuzz and nightly)
	@tests/fuzz/run.sh

lint: ## formatting, clippy, documentation, licences
	@tests/tools/lint.sh

conformance: ## ask Docker Compose itself again, instead of what it said when the fixtures were made
	@tests/tools/ready.sh
	@COMPOSE_V2="$$(tests/tools/compose.sh v2 --path)" COMPOSE_V1="$$(tests/tools/compose.sh v1 --path)" \
		STEADFAST_ASK_COMPOSE=1 $(CARGO) test --locked -p steadfast-tests --test conformance

build: ## the binary, in target/release
	$(CARGO) build --release --locked -p steadfast

# Under sudo there may be no Cargo: what was built before is installed.
install: ## the binary, the unit, the group and the directories (as root; honours DESTDIR, PREFIX)
	@[ -x target/release/steadfast ] || $(MAKE) build
	install -D -m 0755 target/release/steadfast $(DESTDIR)$(PREFIX)/bin/steadfast
	sed 's|/usr/bin/steadfast|$(PREFIX)/bin/steadfast|g' systemd/steadfast.service >target/steadfast.service
	install -D -m 0644 target/steadfast.service $(DESTDIR)$(UNITDIR)/steadfast.service
	install -D -m 0644 systemd/steadfast.sysusers $(DESTDIR)/usr/lib/sysusers.d/steadfast.conf
	install -D -m 0644 systemd/steadfast.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/steadfast.conf
	@if [ -n "$(DESTDIR)" ]; then echo "a package: its scripts make the group and the directories"; else \
		systemd-sysusers steadfast.conf && systemd-tmpfiles --create steadfast.conf && \
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi; fi

images: ## the images of the tests and the demo, from Debian packages
	@tests/tools/ready.sh

clean-test: ## remove what the tests and the demo left: containers, images, the second engine
	@tests/tools/clean.sh --images
