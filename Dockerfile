# syntax=docker/dockerfile:1

# The base is pinned by version. Pin it by digest where you build releases (docker buildx imagetools inspect IMAGE prints
# it): a digest written here by hand and never renewed would keep known vulnerabilities in.

# The build runs on the builder's own platform and cross-compiles: no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src

# Dependencies first: their layer stays while only our code changes.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY hack/image hack/image
COPY api api
COPY cmd cmd
COPY config config
COPY controllers controllers
COPY internal internal

ARG TARGETOS TARGETARCH
ARG VERSION=unknown
# Static (no cgo), without paths of the build machine, symbol table and development stack; less than 40 MB, or it fails.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH VERSION=$VERSION hack/image/build /out/cartero

# Nothing but the binary and the certificates by which it knows SMTP, MySQL and Redis servers: no shell, no package manager,
# no users file (the process needs none), no time zones (all times are UTC).
FROM scratch
LABEL org.opencontainers.image.title="cartero" \
      org.opencontainers.image.description="E-mail campaigns as Kubernetes objects" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/cartero-mail/cartero"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/cartero /cartero
# By number: Kubernetes' runAsNonRoot can't tell from a name.
USER 65532:65532
ENTRYPOINT ["/cartero"]
