# syntax=docker/dockerfile:1

# Base images are pinned by version. Pin them by digest where you build releases (docker buildx imagetools inspect IMAGE
# prints it): a digest written here by hand and never renewed would keep known vulnerabilities in.

# The build runs on the builder's own platform and cross-compiles: no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src

# Dependencies first: their layer stays while only our code changes.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY api api
COPY cmd cmd
COPY config config
COPY controllers controllers
COPY internal internal

ARG TARGETOS TARGETARCH
ARG VERSION=unknown
# The same flags as `make build`: static (no cgo), no paths of the build machine, no symbol table.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/cartero ./cmd/cartero

# distroless/static holds CA certificates (TLS to SMTP, MySQL and Redis), time zones and /etc/passwd: about 2 MB, no
# shell, no package manager. Its tags name no versions, only the Debian release.
FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="cartero" \
      org.opencontainers.image.description="E-mail campaigns as Kubernetes objects" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/cartero-mail/cartero"
COPY --from=build /out/cartero /cartero
# By number: Kubernetes' runAsNonRoot can't tell from a name.
USER 65532:65532
ENTRYPOINT ["/cartero"]
