# The ways in. `make` alone prints them.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/usr/lib/systemd/system,/etc/systemd/system)
MANDIR ?= $(PREFIX)/share/man/man1
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
DOCDIR ?= $(PREFIX)/share/doc
# What is installed, or packed.
BIN ?= $(or $(CARGO_TARGET_DIR),target)/release/steadfast
# What is made of the binary itself, for `install`.
MADE := target/install
# The tree of the package, as [package.metadata.deb] of agent/Cargo.toml knows it, and with what it is packed.
TREE := target/deb
CARGO_DEB := 3.8.0
DEB_REVISION ?= 1
DEB_FLAGS ?=
# The time of the last commit: one source makes one package.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench fuzz lint build install uninstall deb cargo-deb conformance clean-test images

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
install: ## binary, unit, user, directories, completions, manual pages, docs (as root; honours DESTDIR, PREFIX)
	@[ -x $(BIN) ] || $(MAKE) build
	rm -rf $(MADE) && mkdir -p $(MADE)
	$(BIN) man $(MADE)/man
	for shell in bash zsh fish; do $(BIN) completions $$shell >$(MADE)/$$shell || exit 1; done
	sed 's|/usr/bin/steadfast|$(PREFIX)/bin/steadfast|g' systemd/steadfast.service >$(MADE)/steadfast.service
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/steadfast
	install -D -m 0644 $(MADE)/steadfast.service $(DESTDIR)$(UNITDIR)/steadfast.service
	install -D -m 0644 systemd/steadfast.sysusers $(DESTDIR)/usr/lib/sysusers.d/steadfast.conf
	install -D -m 0644 systemd/steadfast.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/steadfast.conf
	install -D -m 0644 -t $(DESTDIR)$(MANDIR) $(MADE)/man/*.1
	install -D -m 0644 $(MADE)/bash $(DESTDIR)$(BASHDIR)/steadfast
	install -D -m 0644 $(MADE)/zsh $(DESTDIR)$(ZSHDIR)/_steadfast
	install -D -m 0644 $(MADE)/fish $(DESTDIR)$(FISHDIR)/steadfast.fish
	for file in README.md CHANGELOG.md $$(find docs config/examples -type f); do \
		install -D -m 0644 $$file $(DESTDIR)$(DOCDIR)/steadfast/$$file || exit 1; done
	@if [ -n "$(DESTDIR)" ]; then echo "a package: its scripts make the user and the directories"; else \
		systemd-sysusers steadfast.conf && systemd-tmpfiles --create steadfast.conf && \
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi; fi

# The daemon is stopped, as nothing would start it again; its containers go on.
uninstall: ## take away what `install` put; settings, state, the user and every container stay
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl disable --now steadfast.service || true; fi
	rm -f $(DESTDIR)$(PREFIX)/bin/steadfast $(DESTDIR)$(UNITDIR)/steadfast.service
	rm -f $(DESTDIR)/usr/lib/sysusers.d/steadfast.conf $(DESTDIR)/usr/lib/tmpfiles.d/steadfast.conf
	rm -f $(DESTDIR)$(MANDIR)/steadfast.1 $(DESTDIR)$(MANDIR)/steadfast-*.1
	rm -rf $(DESTDIR)$(DOCDIR)/steadfast
	rm -f $(DESTDIR)$(BASHDIR)/steadfast $(DESTDIR)$(ZSHDIR)/_steadfast $(DESTDIR)$(FISHDIR)/steadfast.fish
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

# The changelog is what Debian wants beside the one that is read. Quiet: cargo-deb misses a build and units of its own making,
# where it is given a tree that is whole. A binary that was built before may be another one than this source makes.
deb: $(if $(filter file,$(origin BIN)),build) ## the Debian package, in target/debian; of BIN where that is given (installs cargo-deb)
	@$(MAKE) --no-print-directory cargo-deb
	rm -rf $(TREE)
	@$(MAKE) --no-print-directory install DESTDIR=$(TREE) PREFIX=/usr
	printf 'steadfast (%s-%s) unstable; urgency=medium\n\n  * See CHANGELOG.md beside this file.\n\n -- %s  %s\n' \
		"$$($(BIN) --version | cut -d ' ' -f 2)" "$(DEB_REVISION)" "$$(sed -n 's/^maintainer = "\(.*\)"/\1/p' agent/Cargo.toml)" \
		"$$(LC_ALL=C date -u -R -d @$(SOURCE_DATE_EPOCH))" >$(MADE)/changelog
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(CARGO) deb --quiet --locked -p steadfast --no-build --deb-revision $(DEB_REVISION) $(DEB_FLAGS)

cargo-deb:
	@$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb --version $(CARGO_DEB)

images: ## the images of the tests and the demo, from Debian packages
	@tests/tools/ready.sh

clean-test: ## remove what the tests and the demo left: containers, images, the second engine
	@tests/tools/clean.sh --images
