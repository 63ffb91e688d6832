# One line each; ./test/run is the whole of it.
.PHONY: build test lint fuzz generate bench
build: ; CGO_ENABLED=0 go build -trimpath -o sidecar ./cmd/sidecar
test: ; ./test/run
lint: ; go vet ./... && golangci-lint run ./...
fuzz: ; ./test/fuzz $${FOR:-60s}
generate: ; go generate ./...
bench: ; go run ./bench
