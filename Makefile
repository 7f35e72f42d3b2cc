# make help lists what there is. make bench and make test work on a fresh clone and again, offline, in seconds of overhead.
GO ?= go
# Packages that start servers share a few cores, but wait half of the time: three at a time, and four tests of each. Their results are not
# cached: the servers may change. make check vets.
TESTFLAGS ?= -p 3 -parallel 4 -count 1 -timeout 40m -vet=off
# The longest ones begin first: at the end nothing else would run while they wait. go test starts packages in this order.
LONGEST = ./cmd/isukit ./app/fanouttest ./infra/tune ./app ./infra/host/ssh ./infra ./infra/host/machine ./infra/doctor ./bench/compare
# app/fanout is a module of its own, so that others can import it without what isukit needs. ./... does not go into it; its path does.
FANOUT = $(shell sed -n 's/^module //p' app/fanout/go.mod)
ALL = ./... $(FANOUT)/...
# Packages without a goroutine, in tests neither: the race detector takes minutes for them and has nothing to see. TestSequential holds it.
SEQUENTIAL = . ./bench/compare ./bench/diff ./bench/experiment ./infra/digest ./infra/host/cgroup ./infra/host/proc ./infra/pki ./infra/plan \
	./infra/profile ./infra/redact ./proto ./proto/decode
FUZZTIME ?= 20s

.PHONY: help build bench bench-load bench-fanout stress-fanout stress-statements bench-digest bench-experiments bench-capture bench-tuning stress-tune stress-topology stress-vm stress-race stress-lab replay-day bench-lab bench-proxy bench-targets fuzz pictures setup setup-test mysql mariadb envoy test test-busy check check-format check-vet check-darwin check-staticcheck \
	check-generated check-licenses check-tidy check-shell check-race check-vuln check-words coverage dist generate licenses fanout-path man clean
.DEFAULT_GOAL := help
# The parts of setup build on one another, and tests and benchmarks must not run at the same time.
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/isukit and bin/isukit-app
	@mkdir -p bin
	@commit=$$(git rev-parse HEAD 2>/dev/null || true); \
	[ -z "$$commit" ] || [ -z "$$(git status --porcelain --untracked-files=no)" ] || commit=$$commit+dirty; set -x; \
	$(GO) build -buildvcs=false -ldflags "-X isukit/cmd/internal/release.commit=$$commit" -o bin/ ./cmd/isukit ./cmd/isukit-app

bench: setup build ## one round with the default topology: a score, the reason for it, a report
	bin/isukit round

bench-load: ## the load engine against other generators and its own targets; wrk, vegeta and k6 are compared when installed
	@mkdir -p bin
	@$(GO) test -c -o bin/loadbench ./bench/loadbench
	ISUKIT_LOADBENCH=1 bin/loadbench

bench-tuning: setup mariadb build ## what tunings gain, in the lab, as root: one line of JSON each; CASES="query-cache folklore" runs some
	@sh scripts/bench-tuning.sh $(CASES)

stress-tune: setup-test mysql ## every tuning applied and reverted, alone and together, with 30 kills, on real servers of both engines
	ISUKIT_TEST_REAL=1 ISUKIT_TUNE_KILLS=30 $(GO) test ./infra/tune -run TestTakenBack -v -count 1 -timeout 2h

# A failure prints the seed; ISUKIT_KILLS_SEED=n draws the same moments again.
stress-topology: setup-test mysql hosts ## isukit killed at 20 random moments of applies, with each driver; over ssh also of other commands, hosts that boot and links that are cut; a round against the lab (root)
	ISUKIT_TEST_REAL=1 ISUKIT_KILLS=20 $(GO) test ./cmd/isukit -run 'TestTopologyKilled|TestTopologyOverSSH|TestCommandsCutOffOverSSH|TestForeignApp|TestForeignDay|TestRoundAlike' -v -count 1 -timeout 2h

stress-vm: setup-test hosts ## a quarter of an hour on a virtual machine with a kernel of its own, emulated: settings of vm and fs, AppArmor, limits, boots (root, amd64)
	@sh scripts/get-vm.sh
	ISUKIT_TEST_REAL=1 ISUKIT_VM=1 $(GO) test ./cmd/isukit -run TestVirtualMachine -v -count 1 -timeout 3h

# A failure prints the seed; LINK_SEED=n plays it again.
stress-lab: setup-test mysql ## rounds over two databases while the link of one has each kind of fault: SEEDS (20) of each, in the lab (root)
	ISUKIT_TEST_REAL=1 ISUKIT_LINK_SEEDS=$(or $(SEEDS),20) ISUKIT_LINK_SEED=$(LINK_SEED) $(GO) test ./cmd/isukit -run TestRoundWithLinkFaults -v -count 1 -timeout 24h

replay-day: setup-test mysql mariadb envoy hosts build ## the claims of docs/the-day.md on real servers, decided or measured, a line each; ROWS="3 16" runs some (root)
	@GO='$(GO)' sh scripts/replay-day.sh $(ROWS)

# GOFLAGS and not a flag of go test: the programs that tests build and start are to be watched as well. One test holds a program
# to an amount of memory that none keeps which is watched.
stress-race: setup-test mysql envoy hosts ## all tests on real servers under the race detector, the programs that they start included
	ISUKIT_TEST_REAL=1 GOFLAGS="$$($(GO) env GOFLAGS) -race" $(GO) test $(TESTFLAGS) -skip '^TestCaptureMemory$$' -timeout 2h $(LONGEST) $(ALL)

bench-capture: setup-test ## reading captures against tshark: how many times as long tshark takes, decoding included
	ISUKIT_TEST_REAL=1 $(GO) test -run '^$$' -bench '^BenchmarkCapture$$' -benchtime 1x ./cmd/isukit

bench-digest: setup-test mysql ## digests against alp and pt-query-digest: ALP=path PT=path
	ISUKIT_TEST_REAL=1 ISUKIT_ALP='$(ALP)' ISUKIT_PT_QUERY_DIGEST='$(PT)' $(GO) test -v -count 1 -run 'TestAgainstAlp|TestRealSlowLogs' ./infra/digest/...

# 60,000 conflicting writes in each case, 100,000 reads of sessions, 10,000 cancels, and every fault with 20 seeds. It takes hours.
stress-fanout: setup-test mysql ## the fan-out's tests at their full counts, on real servers; FANOUT_RUN=Name runs some
	ISUKIT_TEST_REAL=1 ISUKIT_FANOUT_SCALE=60 ISUKIT_FANOUT_SEEDS=20 $(GO) test ./app/fanouttest -run '$(FANOUT_RUN)' -v -count 1 -timeout 24h

# A failure prints the seed, the schema and the fewest statements that show it; SEED=n COUNT=0 plays that world again.
stress-statements: setup-test mysql ## random statements on random schemas, replicas compared: COUNT (100000) accepted ones, or SEED=n COUNT=0
	ISUKIT_TEST_REAL=1 ISUKIT_STATEMENTS=$(or $(COUNT),100000) ISUKIT_STATEMENTS_SEED=$(SEED) $(GO) test ./app/fanouttest -run 'TestStatements$$' -v -count 1 -timeout 24h

bench-fanout: setup-test mysql ## what each write mode of the fan-out costs, near and 1 ms away, on real servers of both engines (root)
	@json=$$(mktemp) && trap 'rm -f "$$json"' EXIT && \
	ISUKIT_TEST_REAL=1 ISUKIT_FANOUT_COST=5 ISUKIT_FANOUT_COST_JSON="$$json" $(GO) test ./app/fanouttest -run TestCost -v -count 1 -timeout 60m && \
	cat "$$json"

bench-targets: setup-test mysql ## figures with a target that no test judges, each printed with it (root)
	ISUKIT_TEST_REAL=1 $(GO) test -run '^$$' -bench '^(BenchmarkInitialize|BenchmarkAdmitBesideWrites|BenchmarkLiveCapture|BenchmarkDayPage|BenchmarkPrepareAgain|BenchmarkLab)' -benchtime 1x \
		./app ./app/fanouttest ./cmd/isukit ./infra/host/machine

pictures: setup-test build ## docs/pictures: a round of 30 s as the README shows it, and a capture
	bin/isukit round --quiet --results .local/pictures
	mkdir -p .local/foreign && ISUKIT_FOREIGN="$$PWD/.local/foreign" $(GO) test ./cmd/isukit -run TestForeignSchemaInOneCommand -count 1
	sh scripts/pictures.sh "$$(ls -d .local/pictures/*/ | tail -n 1)" .local/foreign docs/pictures

# It takes a quarter of an hour.
bench-experiments: ## what screens, advice and searches find of planted truths: 1,000 synthetic experiments of each kind
	ISUKIT_EXPERIMENTS=$${ISUKIT_EXPERIMENTS-1000} $(GO) test ./bench/experiment -v -count 1 -timeout 2h

bench-lab: setup-test ## in the lab: reads over two databases held to 0.4 CPU each, against one, near and 0.5 ms away (root)
	@json=$$(mktemp) && trap 'rm -f "$$json"' EXIT && \
	ISUKIT_TEST_REAL=1 ISUKIT_LAB_BENCH=8 ISUKIT_LAB_BENCH_JSON="$$json" $(GO) test ./cmd/isukit -run TestBenchLab -v -count 1 -timeout 20m && \
	cat "$$json"

bench-proxy: setup-test envoy ## in the lab: Envoy and nginx, hits/s and CPU per 1,000 hits, with TLS and without (root)
	@json=$$(mktemp) && trap 'rm -f "$$json"' EXIT && \
	ISUKIT_TEST_REAL=1 ISUKIT_LAB_BENCH=6 ISUKIT_LAB_BENCH_JSON="$$json" $(GO) test ./cmd/isukit -run TestBenchProxy -v -count 1 -timeout 20m && \
	cat "$$json"

setup: ## install what a round needs, nginx and a database server (quick when it is there)
	@sh scripts/setup.sh run

setup-test: ## install what the tests need as well
	@sh scripts/setup.sh test

mysql: ## Oracle MySQL into .local/mysql (nothing to do where it is installed)
	@sh scripts/get-mysql.sh mysql

mariadb: ## MariaDB into .local/mariadb (nothing to do where it is installed)
	@sh scripts/get-mysql.sh mariadb

envoy: ## Envoy into .local/envoy
	@sh scripts/get-envoy.sh

.PHONY: hosts
hosts: ## the files of a server with systemd into .local/hosts, which tests and "isukit lab up --systemd" boot (root)
	@sh scripts/get-hosts.sh

# Every fuzz target that there is, two at a time, one worker each. Small inputs suffice, and minimizing large ones takes the
# whole time.
fuzz: ## the parsers of what others wrote on random input, FUZZTIME (20s) each
	@grep -rHo --include='*_test.go' --exclude-dir=.local '^func Fuzz[A-Za-z0-9]*' . | sed 's|/[^/]*:func | |' | sort | \
	xargs -n 2 -P 2 sh -c '$(GO) test -C "$$1" -run "^$$" -fuzz "^$$2\$$" -parallel 1 -fuzztime $(FUZZTIME) -fuzzminimizetime 20x' fuzz

test: setup-test mysql mariadb envoy hosts bin/suite ## all tests, against real servers, and some seconds of fuzzing; what they leave is cleared up
	ISUKIT_TEST_REAL=1 bin/suite $(GO) test $(TESTFLAGS) $(LONGEST) $(ALL)
	@$(MAKE) --no-print-directory fuzz FUZZTIME=1s

test-busy: setup-test mysql mariadb envoy hosts bin/suite ## all tests with a busy loop on each CPU
	ISUKIT_TEST_REAL=1 bin/suite -busy $(GO) test $(TESTFLAGS) $(LONGEST) $(ALL)

.PHONY: bin/suite
bin/suite:
	@mkdir -p bin
	@$(GO) build -C tools -o ../bin/suite ./suite

check: check-format check-words check-vet check-darwin check-staticcheck check-generated check-licenses check-tidy check-shell check-race ## everything that needs no server
	@echo 'check: ok'

check-format:
	@files=$$(git ls-files -co --exclude-standard '*.go' | while read -r f; do [ ! -e "$$f" ] || echo "$$f"; done | xargs gofmt -l); \
	if [ -n "$$files" ]; then echo "not formatted (gofmt -w them):"; echo "$$files"; exit 1; fi

check-words: ## words that are hard to read, with a plain form (testdata/wording.tsv)
	@$(GO) test . -count 1 -run '^TestWording'

check-vet:
	$(GO) vet ./...
	cd app/fanout && $(GO) vet ./...
	cd tools && $(GO) vet ./... && $(GO) test ./...

# A Mac is a laptop that --driver ssh works from.
check-darwin:
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./cmd/...

check-staticcheck:
	$(GO) tool -modfile=tools/go.mod staticcheck $(ALL)

# Compared with the earlier state, not with the last commit: it may be run in the middle of work.
check-generated:
	@before=$$(mktemp -d) && trap 'rm -rf "$$before"' EXIT && cp -R proto/portal "$$before/" && \
	$(MAKE) --no-print-directory generate && diff -r "$$before/portal" proto/portal || \
	{ echo 'the generated code was not up to date; it is now (make generate)'; exit 1; }

check-licenses:
	@cd tools && $(GO) run ./licenses .. | diff ../docs/licenses.md - || \
	{ echo 'check-licenses: error: docs/licenses.md is not what go.mod says'; echo 'check-licenses: hint: make licenses'; exit 1; }

check-tidy:
	$(GO) mod tidy -diff
	cd app/fanout && $(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff

check-shell:
	@if command -v shellcheck >/dev/null; then find scripts -name '*.sh' -exec shellcheck {} +; \
	else echo 'check-shell: skipped, there is no shellcheck here (make setup-test installs it)'; fi

check-race:
	@command -v $${CC:-gcc} >/dev/null || { echo 'check-race: error: the race detector needs a C compiler'; \
	echo 'check-race: hint: install gcc'; exit 1; }
	$(GO) test $(SEQUENTIAL)
	$(GO) test -race $(TESTFLAGS) $(filter-out $(SEQUENTIAL),$(LONGEST)) $$($(GO) list $(ALL) | grep -vxF "$$($(GO) list $(SEQUENTIAL))")

# It asks vuln.go.dev, which not every machine reaches; that is why make check leaves it out. A copy can be made of module
# golang.org/x/vulndb, whose command indexdb turns its data/osv into one.
check-vuln: ## known vulnerabilities in what is called of the dependencies; VULNDB=file:///... asks a copy of the database
	$(GO) tool -modfile=tools/go.mod govulncheck $(if $(VULNDB),-db $(VULNDB)) ./...

dist: ## archives of a release in dist/: static binaries, completions, manual pages, checksums; TARGETS=linux/arm64 builds some
	@GO='$(GO)' sh scripts/dist.sh

coverage: ## docs/coverage.md: the share of statements that tests reach, by package; REAL="./app ./infra/team" runs these on real servers, too
	@rm -f .coverage.*; cover() { $(GO) test -timeout 40m -coverpkg=./...,$(FANOUT)/... -coverprofile "$$@" >.coverage.log 2>&1 || { tail -n 20 .coverage.log; exit 1; }; }; \
	cover .coverage.plain -p 2 $(ALL) && : >.coverage.real && \
	for p in $(REAL); do ISUKIT_TEST_REAL=1 cover .coverage.one $$p && cat .coverage.one >>.coverage.real; done && \
	MARKED='$(REAL)' sh scripts/coverage.sh .coverage.plain .coverage.real >docs/coverage.md; rm -f .coverage.*

licenses: ## docs/licenses.md: the licences of what the binaries are linked from
	@cd tools && page=$$(mktemp) && $(GO) run ./licenses .. >"$$page" && cat "$$page" >../docs/licenses.md; rm -f "$$page"

fanout-path: ## the module path of app/fanout, everywhere it is named: TO=github.com/you/isukit/app/fanout
	@sh scripts/fanout-path.sh '$(TO)'

man: build ## manual pages into man/, for man -l man/isukit.1
	@mkdir -p man
	bin/isukit man man

generate: ## the Go code of proto/portal/v1
	cd proto && $(GO) run ./gen

clean: ## remove bin/, dist/, man/ and what setup fetched into .local/
	rm -rf bin dist man .local
