# make help lists what there is.
GO ?= go

.PHONY: help setup setup-test mysql envoy
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F ': ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: ## install what a round needs: nginx and a MySQL server (quick when it is there)
	@sh scripts/setup.sh run

setup-test: ## install what the tests need as well
	@sh scripts/setup.sh test

mysql: ## Oracle MySQL into .local/mysql
	@sh scripts/get-mysql.sh

envoy: ## Envoy into .local/envoy
	@sh scripts/get-envoy.sh
