// Package peer is test support: it runs a mail service of the kind that Cartero replaces, service.py, on FastAPI and
// uvicorn. Contract tests and the benchmark of the facade compare Cartero with it.
package peer
