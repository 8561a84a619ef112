// Command control-plane puts etcd, kube-apiserver and kubectl into a directory, for tests (envtest) and `cartero dev`.
//
// It downloads the binaries that the Kubernetes project publishes for envtest where they can be reached, and builds
// the same releases from their Go modules where they can't. What is there and current is left alone, in milliseconds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "control-plane: %v\n", err)
		os.Exit(1)
	}
}

// settings are the command's flags.
type settings struct {
	bin     string // where the three binaries go
	source  string // the directory with the modules kubernetes/ and etcd/
	envtest string // the setup-envtest binary, for downloads
	from    string // auto, download or build
	// optimized has what is built compiled as releases are, for whoever measures it.
	optimized bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	want, err := readPins(s.source)
	if err != nil {
		return err
	}
	if current(s.bin, want) {
		fmt.Fprintf(out, "Control plane: %s is up to date (%s).\n", s.bin, want)
		return nil
	}
	if err := os.MkdirAll(s.bin, 0o755); err != nil {
		return fmt.Errorf("making the directory for the control plane: %w", err)
	}
	started := time.Now()
	how, err := install(ctx, s, want, out)
	if err != nil {
		return err
	}
	if err := writeStamp(s.bin, want, how); err != nil {
		return err
	}
	fmt.Fprintf(out, "Control plane: etcd, kube-apiserver and kubectl are in %s (%s, %s).\n",
		s.bin, how, time.Since(started).Round(time.Second))
	return nil
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("control-plane", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&s.bin, "bin", "bin", "directory that receives etcd, kube-apiserver and kubectl")
	fs.StringVar(&s.source, "source", filepath.Join("hack", "control-plane"), "directory with the modules kubernetes and etcd")
	fs.StringVar(&s.envtest, "setup-envtest", filepath.Join("bin", "setup-envtest"), "the setup-envtest binary, used to download")
	fs.StringVar(&s.from, "from", "auto", "auto: download, or else build; download; build")
	fs.BoolVar(&s.optimized, "optimized", false, "compile as releases are, which takes half as long again: for measuring")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	switch s.from {
	case "auto", "download", "build":
	default:
		return s, fmt.Errorf("-from %q: use auto, download or build", s.from)
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q: this command takes flags only", fs.Arg(0))
	}
	for _, dir := range []*string{&s.bin, &s.source, &s.envtest} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return s, fmt.Errorf("resolving %s: %w", *dir, err)
		}
		*dir = abs
	}
	return s, nil
}

// install makes the binaries appear by the first way that works, and says in a few words which one it was.
func install(ctx context.Context, s settings, want pins, out io.Writer) (string, error) {
	if s.from == "auto" && adopt(ctx, s.bin, want) {
		return "found there already", nil
	}
	if s.from != "build" {
		err := download(ctx, s, want, out)
		switch {
		case err == nil:
			return "downloaded", nil
		case s.from == "download":
			return "", err
		case ctx.Err() != nil:
			return "", ctx.Err()
		}
		fmt.Fprintf(out, "Control plane: no download (%v).\n", err)
	}
	if err := build(ctx, s, want, out); err != nil {
		return "", err
	}
	return "built from source", nil
}
