# The image holds one static program and the roots for wss backends: no shell,
# no package manager, nothing to update but the program.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What sidecar version and the metric sidecar_build_info say: the history is not here.
ARG VERSION
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X sidecar/server.built=$VERSION" -o /sidecar ./cmd/sidecar

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /sidecar /sidecar
# A number, so that Kubernetes can check runAsNonRoot. It owns nothing.
USER 65532:65532
EXPOSE 8080
# TERM drains: clients get a close frame. Give the container drain.delay +
# drain.for and a second to stop in (docker stop -t 12 for the defaults).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["/sidecar", "health"]
ENTRYPOINT ["/sidecar"]
